"""The Python SDK's client of HTTP+SSE. Usage: sse_client.py URL TOKEN ARGUMENTS; says which tools there are and what `echo` gives."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client


async def main(url, token, arguments):
    async with sse_client(url, headers={"Authorization": f"Bearer {token}"}) as streams:
        async with ClientSession(*streams) as session:
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            result = await session.call_tool("echo", arguments)
            print(json.dumps({"tools": tools, "text": result.content[0].text}))


asyncio.run(asyncio.wait_for(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])), 60))
