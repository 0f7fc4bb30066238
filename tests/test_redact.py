"""Secrets do not leave doctor, and what is no secret does."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from doctor.model.bundle import Bundle, Cost, Window
from doctor.model.target import ProcessRef, Target
from doctor.redact import HIDDEN, redact, redact_arguments, redact_text

MARK = "hunter2"
"""The part of every password that must not be seen again; what is around it may be anything."""

ANY = st.characters(codec="utf-8", exclude_characters="\0")
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x2FF, exclude_categories=["Z", "C"])
NAMES = st.sampled_from([
    "password", "db-password", "DB_PASSWORD", "dbPassword", "PGPASSWORD", "passwd", "db.pass", "MYSQL_PWD", "secret",
    "passphrase", "SECRET_KEY", "client-secret", "api_key", "apiKey", "token", "GITHUB_TOKEN", "TOKEN_PROD",
    "authToken", "credentials", "private-key", "aws_secret_access_key", "basic-auth", "proxy-authorization",
])  # fmt: skip
MIXTURE = st.lists(st.sampled_from([*"= :@/'\"&;,?-\\\n", "password", "token", "://", "a", "7"]), max_size=40).map(
    "".join
)

QUOTE = re.compile("\\s*[bBrRfFuU]{0,2}['\"]")
"""What begins like a string may take with it what comes after: where it ends is not known."""


def around_the_mark(alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Passwords of these characters, with the mark somewhere in them."""
    some = st.text(alphabet, max_size=6)
    return st.builds(lambda before, after: before + MARK + after, some, some)


def assert_hidden(*arguments: str) -> None:
    """Not even the mark is left of the password."""
    shown = redact_arguments(arguments)
    assert MARK not in " ".join(shown)
    assert HIDDEN in " ".join(shown)
    assert len(shown) == len(arguments)


@given(NAMES, around_the_mark(ANY))
def test_an_option_s_value_is_hidden(name: str, password: str) -> None:
    """A password of any characters does not survive after its option, with a space or with an equals sign."""
    assert_hidden("serve", f"--{name}={password}")
    assert_hidden("serve", f"-{name}={password}")
    if not re.match(r"--?[A-Za-z]", password):
        assert_hidden("serve", f"--{name}", password, "--port", "8000")


@given(NAMES, around_the_mark(ANY))
def test_an_assignment_is_hidden(name: str, password: str) -> None:
    """A password of any characters does not survive in `env NAME=…` and the like."""
    assert_hidden("env", f"{name}={password}", "python", "app.py")


@given(NAMES, around_the_mark(ANY))
def test_a_query_s_parameter_is_hidden(name: str, password: str) -> None:
    """A password does not survive as a parameter of a URL, and the parameters beside it do."""
    url = f"https://db:5432/shop?user=ann&{name}={quote(password, safe='')}&sslmode=require"
    assert_hidden("serve", url)
    assert redact_text(url) == f"https://db:5432/shop?user=ann&{name}={HIDDEN}&sslmode=require"


@given(around_the_mark(ANY), st.sampled_from(["", "ann", "ann@corp"]))
def test_a_url_s_password_is_hidden(password: str, user: str) -> None:
    """A password does not survive in a URL, where host, port and path do."""
    url = f"postgresql+psycopg://{user}:{quote(password, safe='')}@db.internal:5432/shop"
    assert redact_arguments(["--dsn", url]) == ("--dsn", f"postgresql+psycopg://{user}:{HIDDEN}@db.internal:5432/shop")
    assert redact_text(f"connect({url!r})") == f"connect('postgresql+psycopg://{user}:{HIDDEN}@db.internal:5432/shop')"


@given(around_the_mark(VISIBLE))
def test_a_url_s_password_need_not_be_escaped(password: str) -> None:
    """A password with @, / or : in it as they are does not survive in a URL either."""
    assume("://" not in password)
    assume(not re.match(r"\d{1,5}[/?#,]", password))  # a port
    assert redact_text(f"redis://ann:{password}@db:6379/0") == f"redis://ann:{HIDDEN}@db:6379/0"


@given(NAMES, around_the_mark(VISIBLE))
def test_a_connection_string_s_password_is_hidden(name: str, password: str) -> None:
    """A password does not survive between the other words of a connection string, and they do."""
    shown = redact_text(f"host=db {name}={password} dbname=shop")
    assert MARK not in shown
    assert shown == f"host=db {name}={HIDDEN} dbname=shop" or QUOTE.match(password)


@given(NAMES, around_the_mark(ANY))
def test_a_quoted_password_is_hidden(name: str, password: str) -> None:
    """A password does not survive as a string in JSON or in code, and what comes after it does."""
    assert_hidden("--config", json.dumps({name: password, "port": 8000}))
    assert redact_text(json.dumps({name: password, "port": 8000})) == f'{{"{name}": {HIDDEN}, "port": 8000}}'
    python_name = name.replace("-", "_")
    assert redact_text(f"run({python_name}={password!r}, port=8000)") == f"run({python_name}={HIDDEN}, port=8000)"


@given(around_the_mark(ANY.filter(lambda char: char not in ";")))
def test_a_semicolon_ends_a_password_only_between_semicolons(password: str) -> None:
    """A password with spaces does not survive in an ODBC connection string, and the next item does."""
    assume(not QUOTE.match(password))
    shown = redact_text(f"Server=db;Pwd={password};Database=shop")
    assert shown.endswith(f"{HIDDEN};Database=shop")
    assert MARK not in shown


@given(around_the_mark(VISIBLE), st.sampled_from(["Authorization: Bearer ", "X-Api-Key: ", "X-Auth-Token:"]))
def test_a_header_s_credentials_are_hidden(token: str, header: str) -> None:
    """Credentials do not survive in an HTTP header, whatever scheme stands before them."""
    assert_hidden("curl", "-H", header + token, "http://shop:8000/")


@pytest.mark.parametrize(
    "harmless",
    [
        "git log --author alice --author=alice",
        "serve --bypass-cache on --bypass-cache=on --compass north --pass-through on",
        "serve --tokenizer gpt2 --max-tokens 4096 --max-tokens=4096 --token-limit 7",
        "serve --password-file /run/secrets/db --password-file=/run/secrets/db --secrets-dir=/run/secrets",
        "serve --auth-backend ldap --auth-url=https://auth:8443/login --no-auth 8000 --require-password --port 8000",
        "serve --auth=false --token=none --authority=example.org --passive --secretary bob",
        "uvicorn shop.auth:app --port 8000",
        "gunicorn auth:app tokens:app secret:create_app() shop.secrets:api.v2",
        "serve --upstream auth:8080 --upstream http://auth:8080/ --upstream=api-token:9000",
        "pytest tests/test_token.py::test_password --rootdir=/srv/token",
        "docker run -v /etc/passwd:/etc/passwd:ro -v /run/secrets:/run/secrets image@sha256:0123",
        "env PWD=/srv OLDPWD=/ python -m passenger",
        "psql postgres://ann@db:5432/shop mongodb://db:27017,db2:27017/shop?authSource=admin",
        "curl http://shop:8000/users/ann@example.org http://[::1]:8000/a@b ssh://git@host:22/repo@v1",
        "celery -A shop.tasks worker --loglevel=INFO -Q mail,pdf",
    ],
)
def test_the_harmless_stays_as_it_is(harmless: str) -> None:
    """A command line without a secret is shown byte for byte, however much its names resemble one."""
    assert redact_arguments(harmless.split()) == tuple(harmless.split())


@given(st.lists(MIXTURE, max_size=4))
def test_what_is_hidden_once_is_not_hidden_again(arguments: list[str]) -> None:
    """Hiding changes nothing in what has been hidden already, and never the number of arguments."""
    once = redact_arguments(arguments)
    assert redact_arguments(once) == once
    assert len(once) == len(arguments)


def test_long_lines_take_no_time() -> None:
    """A command line of a megabyte, made to be slow to match, takes seconds at the worst, not hours."""
    began_s = time.process_time()
    for piece in ("a", "://a:b", "password=", "password='a", "'", "token: ", "-", "a@", " "):
        redact_text(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began_s < 30


def test_every_process_of_a_bundle_is_covered() -> None:
    """Master and workers lose their secrets, and nothing else changes."""

    def process(password: str) -> ProcessRef:
        return ProcessRef(
            pid=7,
            ppid=1,
            start_ticks=13,
            started_at="2024-01-01T00:00:00Z",
            cmdline=("serve", "--password", password),
            exe="/usr/bin/python3",
            python="3.12.1",
        )

    def bundle(password: str) -> Bundle:
        return Bundle(
            target=Target(root=process(password), children=(process(password),), host="here"),
            window=Window(started_at="2024-01-01T00:00:00Z", duration_s=1.0),
            evidence=(),
            skipped=(),
            cost=Cost(),
        )

    assert redact(bundle(MARK)) == bundle(HIDDEN)
