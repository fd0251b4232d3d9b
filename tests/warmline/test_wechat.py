"""WeChat's settings are checked, and shown without its secrets."""
from __future__ import annotations

from pathlib import Path

import pytest

from warmline.commands import show_settings
from warmline.settings import BadSetting, Settings, load_settings

APP, OTHER = "wx0123456789abcdef", "wxfedcba9876543210"
SECRET, TOKEN, KEY = "an-app-secret-of-32-characters--", "TheToken", "k" * 43
GIVEN = {"WECHAT_APP_ID": APP, "WECHAT_SECRET": SECRET, "WECHAT_TOKEN": TOKEN, "WECHAT_AES_KEY": KEY}


def settings_of(tmp_path: Path, **given: str) -> Settings:
    return load_settings({f"WARMLINE_{name}": value for name, value in given.items()}, root=tmp_path)


@pytest.mark.parametrize(("given", "said"), [
    ({"WECHAT_SECRET": ""}, "as many accounts"), ({"WECHAT_TOKEN": ""}, "as many accounts"),
    ({"WECHAT_APP_ID": f"{APP},{OTHER}"}, "as many accounts"), ({"WECHAT_AES_KEY": "short"}, "AES_KEY is not as"),
    ({"WECHAT_TOKEN": "no"}, "TOKEN is not as"), ({"WECHAT_SECRET": "short"}, "SECRET is not as"),
    ({"WECHAT_APP_ID": "w/x"}, "APP_ID is not as"), ({"WECHAT_API": "api.weixin.qq.com"}, "http:// or https://"),
    ({name: f"{value},{value}" for name, value in GIVEN.items()}, "names an account twice"),
])
def test_a_bad_value_is_named_without_the_secret(tmp_path: Path, given: dict[str, str], said: str) -> None:
    with pytest.raises(BadSetting, match=said) as caught:
        settings_of(tmp_path, **{**GIVEN, **given})
    assert SECRET not in str(caught.value) and KEY not in str(caught.value)


def test_several_accounts_are_separated_by_commas(tmp_path: Path) -> None:
    both = settings_of(tmp_path, WECHAT_APP_ID=f"{APP}, {OTHER}", WECHAT_SECRET=f"{SECRET},{SECRET}x",
                       WECHAT_TOKEN="One,Two")
    assert both.wechat_accounts == [(APP, SECRET, "One", ""), (OTHER, f"{SECRET}x", "Two", "")]
    assert settings_of(tmp_path).wechat_accounts == []


def test_the_settings_are_listed_without_the_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_settings(settings_of(tmp_path, **GIVEN), None)  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert APP in told and not any(secret in told for secret in (SECRET, TOKEN, KEY))
