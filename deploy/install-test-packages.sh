#!/bin/sh
# The tests run a real Prometheus and a real Alertmanager. As root on Debian this installs them,
# without starting them as services; otherwise it says what is missing.
set -eu
missing=""
for pair in prometheus:prometheus promtool:prometheus \
            prometheus-alertmanager:prometheus-alertmanager amtool:prometheus-alertmanager; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "The tests need these programs; on Debian or Ubuntu: sudo apt-get install$missing" >&2
  exit 2
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# A package's service would take ports that a test, or you, may want.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086 # two package names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
