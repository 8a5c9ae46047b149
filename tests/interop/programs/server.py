"""A server on the Python SDK, for both eras, or over HTTP+SSE if told so. Says where it listens on one line."""

import sys

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("interop-python", instructions="Adds, and shows a made-up customer.")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def customer(name: str) -> dict[str, str]:
    """A made-up customer, with structured content."""
    return {"name": name, "email": "erika@example.com", "card": "4111 1111 1111 1111"}


@server.tool()
async def count(upto: int, ctx: Context) -> str:
    """Reports progress on the way."""
    for step in range(upto):
        await ctx.report_progress(step, upto)
    return f"counted to {upto}"


@server.tool()
def broken() -> str:
    """Always fails."""
    raise ValueError("this tool is broken")


@server.tool()
def hidden() -> str:
    """What no rule allows."""
    return "nobody should see this"


@server.resource("note://today")
def today() -> str:
    """A note with an address in it."""
    return "Call erika@example.com"


@server.prompt()
def summary(topic: str) -> str:
    """Asks for a summary."""
    return f"Sum up {topic}"


class Announced(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"listening http://127.0.0.1:{port}/{PATH}", flush=True)


PATH = "sse" if "sse" in sys.argv[1:] else "mcp"
app = server.sse_app() if PATH == "sse" else server.streamable_http_app()
anyio.run(Announced(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")).serve)
