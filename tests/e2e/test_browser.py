"""An upgrade in a real browser, as an operator does it: Prefect's form, its pause, the promotion, the artifacts."""

import os
import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from deployments.demo.errors import DemoError
from deployments.demo.processes import wait_until
from tests.e2e.shop import STRATEGY, Shop

QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
PATIENCE_MS = 60_000


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        reason = "there is no Chromium: bash deployments/install-test-needs.sh"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        arguments = [*QUIET, "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        found = browser.new_page(viewport={"width": 1400, "height": 2600})
        found.set_default_timeout(PATIENCE_MS)
        yield found
        browser.close()


def field(page: Page, label: str) -> Locator:
    """The text field under that label of Prefect's form."""
    return page.locator(f"xpath=(//*[normalize-space(text())='{label} (Optional)']/following::textarea)[1]")


def submit(page: Page) -> None:
    """A busy Prefect server may refuse once ("Something went wrong"), as it would an operator: press it again."""
    for last in (False, False, True):
        page.get_by_role("button", name="Submit").click()
        try:
            page.wait_for_url(lambda url: not url.endswith("/run"), timeout=20_000)
            return
        except PlaywrightTimeout:
            if last:
                raise


def promote(page: Page, shop: Shop, task_id: str) -> None:
    """On the flow run's page; again where a busy Prefect server refused it, until the hold is over."""
    for last in (False, False, True):
        page.get_by_role("button", name="Resume").first.click()
        expect(page.get_by_text("wave 1 is done: a person says how it goes on").last).to_be_visible()
        field(page, "Comment").fill("the shop sells")
        page.get_by_role("button", name="Submit").click()
        try:
            wait_until("promotion", lambda: not shop.api.get(f"/tasks/{task_id}")["hold"], timeout_s=30)
            return
        except DemoError:
            if last:
                raise
            page.reload()


def test_upgrade_is_started_promoted_and_looked_at_in_the_browser(fleet, page):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    shop.api.patch(f"/projects/{shop.project}", default_strategy=STRATEGY)
    url = f"{fleet.prefect.url}/deployments/name/upgrade/fleet"
    deployment = httpx.get(url, timeout=30).raise_for_status().json()["id"]

    page.goto(f"{fleet.prefect.ui_url}/deployments/deployment/{deployment}/run")
    page.get_by_text("UpgradeForm").first.click()
    field(page, "Project").fill(shop.name)
    field(page, "Version").fill("1.1")
    field(page, "Waves").fill("1, 100%")
    field(page, "Ask after waves").fill("1")
    submit(page)
    task = wait_until("the deploy task's hold", lambda: _held(shop), fleet.worker, 120)

    page.goto(f"{fleet.prefect.ui_url}/runs/flow-run/{task['flow_run_id']}")
    expect(page.get_by_text(f"{shop.name} 1.0 → 1.1 prod").first).to_be_visible()
    expect(page.get_by_text("Paused", exact=True).first).to_be_visible()
    assert [shop.serving(client) for client in shop.clients] == ["1.1", "1.0"]
    promote(page, shop, task["id"])
    ended = shop.ended(task["id"])
    assert ended["status"] == "completed"
    assert [shop.serving(client) for client in shop.clients] == ["1.1", "1.1"]
    (promoted,) = [
        one for one in shop.api.get("/audit", task_id=task["id"]) if one["action"] == "deploy_task.promote"
    ]
    assert (promoted["who"], promoted["detail"]["comment"]) == ("prefect", "the shop sells")

    page.reload()
    page.locator("#artifacts").click()
    for kind, said in (
        ("deploy-task", f"{shop.name} 1.0 → 1.1 prod"),
        ("progress", "2 of 2 upgraded"),
        ("clients", f"{shop.name} 1.0 → 1.1 prod"),
    ):
        expect(page.get_by_text(f"upgrade-{kind}-{task['id']}").first).to_be_visible()
        expect(page.get_by_text(said).first).to_be_visible()
    page.get_by_text(f"upgrade-clients-{task['id']}").first.click()
    expect(page.get_by_text("1.1 proven").first).to_be_visible()


def _held(shop: Shop):
    tasks = [one for one in shop.api.get("/tasks", project_id=shop.project) if one["hold"] is not None]
    return tasks[0] if tasks else None
