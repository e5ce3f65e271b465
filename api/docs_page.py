"""/docs: the OpenAPI document for people, in one page that loads nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse, Response

router = APIRouter(include_in_schema=False)
PAGE = Path(__file__).with_name("docs_page.html")
POLICY = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"


@router.get("/docs")
async def docs() -> Response:
    """The page."""
    return HTMLResponse(PAGE.read_text(), headers={"Content-Security-Policy": POLICY})


@router.get("/")
async def root() -> Response:
    """Where there is something to see."""
    return RedirectResponse("/docs", 307)
