"""Canaille, an identity server in Python, on the port of its argument, with clients made for the tests.

Prints `listening URL` once it does. It keeps everything in memory.
"""

import datetime
import json
import sys
import wsgiref.simple_server

from authlib.oauth2 import rfc6749
from authlib.oauth2 import rfc7523
from canaille import create_app
from canaille.app import models
from canaille.backends import Backend

# What Canaille takes for the other grants, its client credentials leave at the library's default of the first alone.
rfc6749.ClientCredentialsGrant.TOKEN_ENDPOINT_AUTH_METHODS = [
    "client_secret_basic",
    "client_secret_post",
    rfc7523.JWTBearerClientAssertion.CLIENT_AUTH_METHOD,
]
SECRET = "only-for-tests-0123456789-0123456789"


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


def client(client_id, method, **more):
    made = models.Client(
        client_id=client_id,
        client_secret=SECRET,
        client_name=client_id,
        client_uri="http://127.0.0.1",
        client_id_issued_at=datetime.datetime.now(datetime.timezone.utc),
        grant_types=["client_credentials"],
        response_types=[],
        scope=["openid", "profile"],
        token_endpoint_auth_method=method,
        **more,
    )
    Backend.instance.save(made)
    return made


def main():
    port, jwk = int(sys.argv[1]), sys.argv[2]
    app = create_app(
        {
            "SECRET_KEY": "only for tests",
            "SERVER_NAME": f"127.0.0.1:{port}",
            "PREFERRED_URL_SCHEME": "http",
            "CANAILLE": {"LOGGING": None},
            "CANAILLE_OIDC": {"DYNAMIC_CLIENT_REGISTRATION_OPEN": True},
        }
    )
    with app.app_context():
        proxy = client("portcullis", "client_secret_basic")
        client("portcullis-post", "client_secret_post")
        client("portcullis-signed", "private_key_jwt", jwks=json.dumps({"keys": [json.loads(jwk)]}))
        caller = client("caller", "client_secret_basic")
        for of in Backend.instance.query(models.Client):
            of.audience = [caller, proxy]
            Backend.instance.save(of)
    server = wsgiref.simple_server.make_server("127.0.0.1", port, app, handler_class=Quiet)
    print(f"listening http://127.0.0.1:{port}", flush=True)
    server.serve_forever()


main()
