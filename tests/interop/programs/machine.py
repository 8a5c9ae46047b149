"""The Python SDK's client as a program that signs in as itself, driven by a suite.

Usage: machine.py URL MODE ISSUER CLIENT SHOWN CALL, where MODE is "legacy" or "auto", CLIENT is "basic", "post" or
"signed", SHOWN its secret or the file of its private key, and CALL is {"name", "arguments"}.
Each line on stdout is one event: "version", "said" and, when something failed, "error".
"""

import asyncio
import json
import pathlib
import sys

from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


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


def provider(url, issuer, client, shown):
    if client != "signed":
        method = f"client_secret_{client}"
        return ClientCredentialsOAuthProvider(url, Memory(), client, shown, method, issuer=issuer)
    key = pathlib.Path(shown).read_text()
    signed = SignedJWTParameters(issuer=client, subject=client, signing_key=key, signing_algorithm="ES256")
    return PrivateKeyJWTOAuthProvider(url, Memory(), client, signed.create_assertion_provider(), issuer=issuer)


async def main(url, mode, issuer, client, shown, call):
    async with create_mcp_http_client(auth=provider(url, issuer, client, shown)) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as session:
            say(version=str(session.protocol_version))
            result = await session.call_tool(call["name"], call["arguments"])
            say(said="\n".join(getattr(block, "text", "") for block in result.content))


try:
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:6], json.loads(sys.argv[6])), 60))
except BaseException as error:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    say(error=f"{type(error).__name__}: {error}")
    sys.exit(1)
