"""Keys, tokens and passwords, and personal data, in texts.

Formats of keys come from detect-secrets, check digits from python-stdnum. detect-secrets is made
for lines of source code: its guesses by entropy and by keyword find too much in prose, so only
its formats are used. Looking for a trace of any of them first (RE2, or `re` for a few texts)
keeps a million clean rows cheap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

# One trace for each format below; what has none of them is clean.
_TRACE = (
    r"A[KS]IA|ABIA|ACCA|A3T|(?i:aws|azure|account_?key|softlayer|cloudant|artif|jfrog|authtoken)"
    r"|gh[pousr]_|github_pat_|gl[a-z]+-|GR1348941|xox[abposr]-|hooks\.slack\.com|[sr]k_live_"
    r"|sk-|hf_|AIza|eyJ|SG\.|npm_|NPM|pypi-|PRIVATE KEY|PuTTY|://[^/\s]*:[^\s]*@|sq0csp"
    r"|AC[a-z0-9]{8}|SK[a-z0-9]{8}|-us[0-9]|AKC|[0-9]:[A-Za-z0-9_-]{8}|[\w-]\.[\w-]{6}\.[\w-]{6}"
    r"|==|(?i:passw(?:or)?d|pwd|secret|api.?key|access.?key|auth.?token|access.?token)[\"' ]*[:=]"
    r"|@[A-Za-z0-9-]+\.|[0-9]{4}[ -]?[0-9]{4}|[A-Z]{2}[0-9]{2}[ ]?[A-Z0-9]{4}|\+[0-9(]"
)
_PLUGINS = (
    "artifactory.ArtifactoryDetector", "aws.AWSKeyDetector",
    "azure_storage_key.AzureStorageKeyDetector", "basic_auth.BasicAuthDetector",
    "cloudant.CloudantDetector", "discord.DiscordBotTokenDetector",
    "github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector", "jwt.JwtTokenDetector",
    "mailchimp.MailchimpDetector", "npm.NpmDetector", "openai.OpenAIDetector",
    "private_key.PrivateKeyDetector", "pypi_token.PypiTokenDetector",
    "sendgrid.SendGridDetector", "slack.SlackDetector", "softlayer.SoftlayerDetector",
    "square_oauth.SquareOAuthDetector", "stripe.StripeDetector",
    "telegram_token.TelegramBotTokenDetector", "twilio.TwilioKeyDetector",
)  # fmt: skip
# Formats younger than the detector, and a password that is written out.
_KEYS = {
    "Private Key": r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[A-Za-z0-9+/=\s]*",
    "GitHub token": r"github_pat_[A-Za-z0-9_]{50,}",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "Google API key": r"\bAIza[A-Za-z0-9_-]{35}",
    "API key": r"\bsk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{24,}",
    "AWS secret key": r"(?i:aws|secret).{0,30}?[:=]\s*[\"']?[A-Za-z0-9/+]{40}\b",
    "password": r"(?i:passw(?:or)?d|passwd|pwd|secret|api[ _-]?key|access[ _-]?key|auth[ _-]?token|"
    r"access[ _-]?token)[\"']?\s*[:=]\s*[\"']?(?=[^\s\"']*[0-9])(?=[^\s\"']*[A-Za-z])[^\s\"']{8,}",
}
_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b")
# RFC 2606 keeps these for examples, so nobody lives there.
_NOBODY = re.compile(r"(?i)@(?:.*\.)?(?:example\.(?:com|org|net)|[^.]+\.(?:example|test|invalid))$")
_CARD = re.compile(r"(?<![\d.,-])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\d-]|[.,]\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?\b")
_PHONE = re.compile(r"(?<![\w+])\+[1-9]\d{0,2}(?:[ ./-]?\(?\d{1,4}\)?){2,6}\d(?!\w)")
_FEW = 2000


def suspects(texts: Sequence[str]) -> list[int]:
    """Numbers of the texts that hold a trace of a format."""
    return matching(texts, _TRACE)


def matching(texts: Sequence[str], pattern: str) -> list[int]:
    """Numbers of the texts that hold the pattern, which both RE2 and `re` understand."""
    if len(texts) < _FEW:
        trace = re.compile(pattern)
        return [number for number, text in enumerate(texts) if trace.search(text)]
    import pyarrow
    import pyarrow.compute

    found = pyarrow.compute.match_substring_regex(pyarrow.array(texts), pattern)
    numbers = pyarrow.compute.indices_nonzero(found).to_pylist()
    return [int(number) for number in numbers]


def find(text: str) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """(secrets or personal_data, what it is, where it stands)."""
    for plugin in _detectors():
        if any(True for _ in plugin.analyze_string(text)):
            for pattern in plugin.denylist:
                for match in pattern.finditer(text):
                    if not _reserved(match[0], text[match.end() : match.end() + 80]):
                        yield "secrets", plugin.secret_type, match.span()
    for name, key in _patterns():
        for match in key.finditer(text):
            yield "secrets", name, match.span()
    for match in _MAIL.finditer(text):
        if not _NOBODY.search(match[0]):
            yield "personal_data", "e-mail address", match.span()
    yield from _numbers(text)


def _numbers(text: str) -> Iterator[tuple[str, str, tuple[int, int]]]:
    from stdnum import iban, luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if 13 <= len(digits) <= 19 and len(set(digits)) > 3 and luhn.is_valid(digits):
            yield "personal_data", "card number", match.span()
    for match in _IBAN.finditer(text):
        if iban.is_valid(match[0], check_country=False):
            yield "personal_data", "IBAN", match.span()
    for match in _PHONE.finditer(text):
        if 8 <= len(re.sub(r"\D", "", match[0])) <= 15:
            yield "personal_data", "phone number", match.span()


def _reserved(found: str, after: str) -> bool:
    """An address with a password on a host of RFC 2606."""
    host = re.match(r"[\w.-]*", after)
    return found.startswith("://") and bool(host) and bool(_NOBODY.search(f"@{host[0]}"))  # type: ignore[index]


def mask(text: str) -> str:
    """The text with each finding shortened to its first signs, so that no page repeats it."""
    spans = sorted({span for _, _, span in find(text)}) if suspects([text]) else []
    parts, end = [], 0
    for begin, stop in spans:
        if begin >= end:
            parts += [text[end:begin], text[begin : begin + 4], "****"]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


@cache
def _detectors() -> list[Any]:
    from importlib import import_module

    made = []
    for name in _PLUGINS:
        module, _, kind = name.partition(".")
        made.append(getattr(import_module(f"detect_secrets.plugins.{module}"), kind)())
    return made


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [(name, re.compile(pattern)) for name, pattern in _KEYS.items()]
