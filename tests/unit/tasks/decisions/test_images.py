"""Which version an image is, however a cluster calls it."""

import pytest

from tasks.decisions.images import same_image, versions_running

PINNED = "shop@sha256:0a1b"


@pytest.mark.parametrize(
    ("seen", "wanted", "same"),
    [
        ("shop:1.5", "shop:1.5", True),
        ("docker.io/library/shop:1.5", "shop:1.5", True),
        ("shop:1.5", "r.example:5000/team/shop:1.5", True),
        ("mirror.example:5000/docker.io/library/shop:1.5", "shop:1.5", True),
        ("docker.io/library/shop:latest", "shop", True),
        ("r.example:5000/shop", "shop:latest", True),
        ("shop:1.4", "shop:1.5", False),
        ("shop", "shop:1.5", False),
        ("shop-api:1.5", "shop:1.5", False),
        ("shop:1.5@sha256:0a1b", "shop:1.5", True),
        ("shop:1.4@sha256:0a1b", "shop:1.5", False),
        (f"docker.io/library/{PINNED}", PINNED, True),
        ("shop:1.5@sha256:0a1b", PINNED, True),
        ("shop@sha256:9f9f", PINNED, False),
        (PINNED, "shop:1.5", None),
        ("shop:1.5", PINNED, None),
        ("proxy@sha256:0a1b", "shop:1.5", False),
        ("sha256:0a1b", "shop:1.5", None),
        ("sha256:9f9f", PINNED, None),
        ("", "shop:latest", None),
    ],
)
def test_same_image(seen, wanted, same):
    assert same_image(seen, wanted) is same


IMAGES = {"shop:1.4": "1.4", "r.example/shop:1.5": "1.5", "shop@sha256:0606": "1.6"}
AMBIGUOUS = {"shop:1.4": "1.4", "r.example/shop:1.4": "1.4-own"}


@pytest.mark.parametrize(
    ("running", "images", "versions"),
    [
        ({"shop:1.4"}, IMAGES, {"1.4"}),
        ({"docker.io/library/shop:1.4", "shop:1.5"}, IMAGES, {"1.4", "1.5"}),
        ({"docker.io/library/shop@sha256:0606"}, IMAGES, {"1.6"}),
        ({"shop:1.4", "istio:7", "sha256:0a1b"}, IMAGES, {"1.4"}),
        ({"shop:nightly"}, IMAGES, {"shop:nightly"}),
        ({"istio:7"}, IMAGES, {"istio:7"}),
        ({"shop:1.4"}, {}, {"shop:1.4"}),
        (set(), IMAGES, set()),
        # It may be any version's.
        ({"shop@sha256:0a1b"}, IMAGES, set()),
        ({"sha256:0a1b", "istio:7"}, IMAGES, set()),
        # Another digest than that of the only version is another image.
        ({"shop@sha256:0a1b"}, {"shop@sha256:0606": "1.6"}, {"shop@sha256:0a1b"}),
        ({"shop:1.4"}, AMBIGUOUS, {"1.4"}),
        ({"r.example/shop:1.4"}, AMBIGUOUS, {"1.4-own"}),
        ({"mirror.example/shop:1.4"}, AMBIGUOUS, set()),
    ],
)
def test_versions_running(running, images, versions):
    assert versions_running(running, images) == versions
