"""What the repository says about itself: make's list, links, the template, and what no file may name."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Written in pieces, so that this file doesn't name them either.
_REGISTRIES = (
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry.npm" + "js.org",
    "deb.debian" + ".org",
)


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def pages():
    return sorted(path for path in tracked_files() if path.suffix == ".md")


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    broken = []
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_make_help_lists_every_target():
    text = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE).group(1).split())
    printed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {line.split()[0] for line in printed.stdout.splitlines() if line.strip()} == phony


def test_no_file_names_a_package_registry():
    found = []
    for path in tracked_files():
        text = path.read_bytes()
        found += [f"{path.relative_to(ROOT)}: {host}" for host in _REGISTRIES if host.encode() in text]
    assert not found


@pytest.mark.parametrize("script", [p for p in tracked_files() if p.suffix == ".sh"], ids=lambda p: p.name)
def test_shell_scripts_parse(script):
    shell = "bash" if "bash" in script.read_text().split("\n", 1)[0] else "sh"
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_glossary_spells_the_domains_words():
    words = [
        "project",
        "version",
        "environment",
        "client",
        "target",
        "installation",
        "execution",
        "report",
        "alert",
        "silence",
    ]
    text = (ROOT / "docs/reference/glossary.md").read_text().lower()
    assert not [word for word in (*words, "deploy task", "wave") if f"**{word}**" not in text]


def test_reference_names_every_address_of_the_release_api():
    from fastapi.routing import APIRoute

    from api import app as application

    text = (ROOT / "docs/reference/api.md").read_text()
    paths = {
        route.path for router in application.ROUTERS for route in router.routes if isinstance(route, APIRoute)
    }
    steered = "/release/tasks/{task_id}/{approve,pause,resume,promote,rollback}"
    words = ("approve", "pause", "resume", "promote", "rollback")
    missing = {
        path
        for path in paths
        if path not in text and not (steered in text and path.rpartition("/")[2] in words)
    }
    assert not missing
