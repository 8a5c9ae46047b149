"""A server on the Python SDK over its standard input and output, with what goes wrong there."""

import os
import sys

import anyio
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("interop-stdio")
cancelled = 0


@server.tool()
def echo(message: str) -> str:
    """Gives back what it got."""
    return message


@server.tool()
async def count(upto: int, ctx: Context) -> str:
    """Reports progress on the way."""
    for step in range(upto):
        await ctx.report_progress(step, upto)
    return f"counted to {upto}"


@server.tool()
async def wait() -> str:
    """Waits until it is cancelled."""
    global cancelled
    try:
        await anyio.sleep(600)
    except anyio.get_cancelled_exc_class():
        cancelled += 1
        raise
    return "waited"


@server.tool()
def times_cancelled() -> str:
    """How often a wait was cancelled."""
    return str(cancelled)


@server.tool()
def complain() -> str:
    """Writes to standard error."""
    print("complaint of erika@example.com", file=sys.stderr, flush=True)
    return "complained"


@server.tool()
def babble() -> str:
    """Writes to standard output what is no message, as a library that prints does."""
    os.write(1, b"loading model...\n\n\x1b[32mready\x1b[0m\n")
    return "babbled"


@server.tool()
def process() -> str:
    """Its process."""
    return str(os.getpid())


@server.tool()
def crash() -> str:
    """Ends the process before it answers."""
    os._exit(3)


server.run("stdio")
