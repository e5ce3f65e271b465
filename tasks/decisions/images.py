"""Whether two names are one image's: what runs in a cluster has a registry added, or a digest in its tag's place. Pure."""

from collections.abc import Collection, Mapping


def same_image(seen: str, wanted: str) -> bool | None:
    """Whether both name one image, of whatever registry. None: nobody can tell, one has only a digest, the other only a tag."""
    (name, tag, digest), (wanted_name, wanted_tag, wanted_digest) = _parts(seen), _parts(wanted)
    if name and wanted_name and name != wanted_name:
        return False
    if digest and wanted_digest:
        return digest == wanted_digest
    if tag and wanted_tag:
        return tag == wanted_tag
    return None


def versions_running(running: Collection[str], images: Mapping[str, str]) -> frozenset[str]:
    """Of which versions these images are; `images`: which version has which.

    What is called exactly as a version's image is that version's. Else what is no version's is a sidecar's where another
    one is, and told as it is called where none is. Empty: it isn't said.
    """
    exactly = {images[image] for image in running if image in images}
    if exactly:
        return frozenset(exactly)
    found = {_version_of(image, images) for image in running}
    versions = {version for version in found if version}
    if versions or _UNSAID in found:
        return frozenset(versions)
    return frozenset(running)


_UNSAID = ""


def _version_of(seen: str, images: Mapping[str, str]) -> str | None:
    """None: no version's. Unsaid: it may be several versions', or has only a digest, which is in no version's name."""
    same = {version for image, version in images.items() if same_image(seen, image)}
    if len(same) == 1:
        return same.pop()
    _, tag, _ = _parts(seen)
    hidden = not tag and any(same_image(seen, image) is None for image in images)
    return _UNSAID if same or hidden else None


def _parts(image: str) -> tuple[str, str, str]:
    """Its name without registry and path, tag, and digest; none of them where it is called by its own id alone.

    https://github.com/distribution/reference/blob/main/reference.go
    """
    if not image or image.startswith("sha256:"):
        return "", "", ""
    named, _, digest = image.partition("@")
    name, _, tag = named.rpartition("/")[2].partition(":")
    return name, tag or ("" if digest else "latest"), digest
