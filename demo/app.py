"""A small product that uses LLMs: support chat, search, summaries, research, one experiment.

What a reader should take from here is how little of it is about money: one ``instrument()`` at the
top, and a ``with attribute(...)`` where the app knows whose work it does. The clients are the real
``openai`` and ``anthropic`` SDKs; only their base address points to the stand-in provider.

Retries are off, so the number of calls is the same in every run.
"""

import argparse
import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import anthropic
import openai
from openai.types.chat import ChatCompletionMessageParam

import spanledger

# Nothing here leaves the machine, whatever proxy the shell has set.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

QUESTIONS = {
    "ada": ["Where is my order?", "It says delivered.", "At the neighbour's?", "Found it, thanks!"],
    "grace": ["I cannot log in.", "The link has expired.", "It works now."],
}
DOCUMENTS = ["contract.pdf", "minutes.docx", "survey.xlsx", "roadmap.md", "audit.pdf", "memo.txt"]
QUERIES = ["winter tyres", "tyre pressure", "snow chains", "roof rack", "child seat", "battery"]
TOPICS = ["tariffs", "logistics", "weather", "fuel prices", "competitors", "demand"]
CHAPTERS = ["introduction", "method", "results", "discussion", "conclusion"]


def ask(text: str) -> list[ChatCompletionMessageParam]:
    """Make the messages of one question."""
    return [{"role": "user", "content": text}]


def support_chat(client: openai.OpenAI) -> None:
    """Hold two conversations, streaming every answer as a chat window would."""
    for user, questions in QUESTIONS.items():
        with spanledger.attribute(
            user=user, customer="acme", feature="support chat", conversation=f"support-{user}"
        ):
            for question in questions:
                stream = client.chat.completions.create(
                    model="gpt-4o",
                    messages=ask(question),
                    stream=True,
                    stream_options={"include_usage": True},
                )
                for _ in stream:
                    pass


def search(client: openai.OpenAI) -> None:
    """Index documents and answer queries, with the answers from a thread pool."""
    with spanledger.attribute(feature="search", customer="globex", team="discovery"):
        client.embeddings.create(model="text-embedding-3-small", input=DOCUMENTS)
        with ThreadPoolExecutor(max_workers=3) as pool:

            def answer(query: str) -> None:
                client.embeddings.create(model="text-embedding-3-small", input=query)
                client.chat.completions.create(model="gpt-4o-mini", messages=ask(query))

            for number, query in enumerate(QUERIES):
                # The pool's threads see the attributes of whoever submits the work.
                with spanledger.attribute(user=("linus", "barbara")[number % 2]):
                    pool.submit(answer, query)


def summaries(client: anthropic.Anthropic) -> None:
    """Summarise documents in plain threads: long prompts, mostly read from the cache."""

    def summarise(document: str) -> None:
        client.messages.create(
            model="claude-sonnet-4-6",
            max_tokens=2_000,
            messages=[{"role": "user", "content": f"Summarise {document}"}],
        )

    with spanledger.attribute(feature="summaries", customer="initech", user="margaret"):
        threads = [threading.Thread(target=summarise, args=(document,)) for document in DOCUMENTS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@spanledger.attribute(feature="writing aid", customer="acme", user="ada")
def writing_aid(client: anthropic.Anthropic) -> None:
    """Draft a paper chapter by chapter, streamed."""
    for chapter in CHAPTERS:
        with client.messages.stream(
            model="claude-haiku-4-5",
            max_tokens=2_000,
            messages=[{"role": "user", "content": f"Draft the {chapter}"}],
        ) as stream:
            stream.get_final_message()


async def research(client: openai.AsyncOpenAI) -> None:
    """Study topics side by side with a reasoning model, in asyncio tasks."""

    async def study(topic: str) -> None:
        with spanledger.attribute(conversation=f"research-{topic}"):
            await client.responses.create(model="gpt-5-mini", input=f"Study {topic}")
            stream = await client.responses.create(
                model="gpt-5-mini", input=f"Write up {topic}", stream=True
            )
            async for _ in stream:
                pass

    with spanledger.attribute(feature="research", customer="globex", user="barbara"):
        await asyncio.gather(*(study(topic) for topic in TOPICS))


def experiment(client: openai.OpenAI) -> None:
    """Try a model that no price list knows: its calls must show up as unpriced, not as free."""
    with spanledger.attribute(feature="experiment", customer="initech", user="margaret"):
        for number in range(3):
            client.chat.completions.create(model="acme-llm-1", messages=ask(f"Try {number}"))


def bad_day(client: openai.OpenAI, other: anthropic.Anthropic) -> None:
    """Meet a rate limit and a server error: calls that failed, and cost nothing."""
    with spanledger.attribute(feature="support chat", customer="acme", user="grace"):
        with suppress(openai.RateLimitError):
            client.chat.completions.create(
                model="gpt-4o",
                messages=ask("Are you there?"),
                extra_headers={"x-demo-fail": "429"},
            )
        with suppress(anthropic.InternalServerError):
            other.messages.create(
                model="claude-haiku-4-5",
                max_tokens=100,
                messages=[{"role": "user", "content": "And you?"}],
                extra_headers={"x-demo-fail": "500"},
            )


def main(provider_url: str, collector_url: str) -> None:
    """Run the whole product once."""
    handle = spanledger.instrument(
        endpoint=collector_url, service_name="demo-shop", environment="demo"
    )
    v1 = f"{provider_url}/v1"
    chat = openai.OpenAI(base_url=v1, api_key="demo", max_retries=0)
    claude = anthropic.Anthropic(base_url=provider_url, api_key="demo", max_retries=0)
    support_chat(chat)
    search(chat)
    summaries(claude)
    writing_aid(claude)
    asyncio.run(research(openai.AsyncOpenAI(base_url=v1, api_key="demo", max_retries=0)))
    experiment(chat)
    bad_day(chat, claude)
    handle.flush(timeout_s=10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", default="http://127.0.0.1:8900", help="base address")
    parser.add_argument("--collector", default="http://127.0.0.1:4318", help="OTLP/HTTP address")
    arguments = parser.parse_args()
    main(arguments.provider, arguments.collector)
