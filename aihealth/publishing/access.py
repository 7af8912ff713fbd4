"""Who is asking the Hub, and whether they may write where they mean to."""

from pathlib import Path

from huggingface_hub import HfApi, constants, get_session, get_token, set_client_factory
from huggingface_hub.errors import HfHubHTTPError

from aihealth.errors import UserError
from aihealth.hub import LIBRARY, hub_errors

# Seconds without a byte from the Hub until a request counts as lost. The client tries requests six
# times and sends five files at once, so that publishing to a hub that is gone ends within ten
# minutes.
SILENCE = 30


def connect(token_file: str | Path | None = None, *, look: bool = False) -> HfApi:
    """An API with a token that the Hub accepts and that may write; asked before anything else.

    Args:
        token_file: a file that holds the token; without it HF_TOKEN, then `hf auth login`.
        look: nothing will be sent: take whatever token there is, unchecked.

    Raises:
        UserError: no token, a wrong one, or one that may only read.
    """
    token = read_token_file(token_file) if token_file is not None else get_token()
    _limit_silence()
    api = HfApi(token=token, **LIBRARY)
    if look:
        return api
    if not token:
        raise UserError(
            "there is no Hub token: run `hf auth login`, set HF_TOKEN, or give --token-file"
        )
    try:
        with hub_errors("the token check", repo_type="request for"):
            granted = (api.whoami().get("auth") or {}).get("accessToken") or {}
    except UserError as error:
        cause = error.__context__
        if isinstance(cause, HfHubHTTPError) and cause.response.status_code == 401:
            raise UserError(
                f"{constants.ENDPOINT} does not accept the token: make a new one under Settings, "
                "Access Tokens, then run `hf auth login` again"
            ) from None
        raise
    if granted.get("role") == "read":
        raise UserError(
            "the token may only read: make one with the role write under Settings, Access Tokens"
        )
    return api


def check_rights(api: HfApi, repo_id: str, repo_type: str, exists: bool) -> None:
    """Ask whether the token may write, before anything is made ready.

    Args:
        api: with a token.
        repo_id: where to.
        repo_type: "model", "dataset" or "space".
        exists: whether the repo is there; a new one needs rights in its namespace.

    Raises:
        UserError: it may not.
    """
    if exists:
        try:
            with hub_errors(repo_id, repo_type=repo_type):
                api.auth_check(repo_id, repo_type=repo_type, write=True)
        except UserError as error:
            cause = error.__context__
            if isinstance(cause, HfHubHTTPError) and cause.response.status_code == 403:
                way = "; --create-pr opens a pull request instead" if repo_type == "model" else ""
                raise UserError(
                    f"the token has no right to write to {repo_type} repo {repo_id}{way}"
                ) from None
            raise
        return
    with hub_errors(repo_id, repo_type=repo_type):
        me = api.whoami()
    namespace = repo_id.partition("/")[0]
    own = {me["name"]} | {
        org["name"] for org in me.get("orgs") or () if org.get("roleInOrg") != "read"
    }
    if namespace not in own:
        raise UserError(
            f"there is no {repo_type} repo {repo_id}, and the token may make none under "
            f"{namespace}: choose a name under {' or '.join(sorted(own))}"
        )


def read_token_file(path: str | Path) -> str:
    """The token in a file.

    Raises:
        UserError: no such file, or not one word of text in it.
    """
    try:
        words = Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"--token-file {path} cannot be read: {reason}") from None
    if len(words) != 1 or not words[0].isascii():
        raise UserError(f"--token-file {path} must hold the token and nothing else")
    return words[0]


def _limit_silence() -> None:
    """Without this the client waits for ever for a hub that took a request and says nothing."""
    session = get_session()
    kind, hooks = type(session), session.event_hooks
    set_client_factory(lambda: kind(event_hooks=hooks, follow_redirects=True, timeout=SILENCE))
