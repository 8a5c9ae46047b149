"""The Python SDK's client, driven by a suite.

Usage: client.py URL MODE READ WRITE, where MODE is "legacy" or "auto" and READ and WRITE are {"name", "arguments"}.
Each line on stdout is one event. After {"login": URL} the suite signs the user in and writes the URL the client is
called back with; the other events are "version", "tools", "read", "write" and, when something failed, "error".
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata


def say(**event):
    print(json.dumps(event), flush=True)


class Memory:
    """What an OAuth client must remember."""

    def __init__(self):
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def redirect(url):
    say(login=url)


async def called_back():
    line = await asyncio.to_thread(sys.stdin.readline)
    query = {name: values[0] for name, values in parse_qs(urlsplit(line.strip()).query).items()}
    if "code" not in query:
        raise RuntimeError(f"called back with {query}")
    return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))


def words(result):
    return "\n".join(getattr(block, "text", "") for block in result.content)


async def main(url, mode, read, write):
    auth = OAuthClientProvider(
        server_url=url,
        client_metadata=OAuthClientMetadata(
            client_name="interop-python",
            redirect_uris=["http://127.0.0.1:33999/callback"],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            token_endpoint_auth_method="none",
        ),
        storage=Memory(),
        redirect_handler=redirect,
        callback_handler=called_back,
    )
    async with create_mcp_http_client(auth=auth) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            say(version=str(client.protocol_version))
            say(tools=[tool.name for tool in (await client.list_tools()).tools])
            for step, call in (("read", read), ("write", write)):
                result = await client.call_tool(call["name"], call["arguments"])
                say(**{step: words(result), "failed": bool(result.is_error)})


try:
    asyncio.run(asyncio.wait_for(main(sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:5])), 60))
except BaseException as error:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    say(error=f"{type(error).__name__}: {error}")
    sys.exit(1)
