"""The web application: metrics, health, the page; read-only, loads nothing from elsewhere."""
