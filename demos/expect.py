#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a crawl of a directory of files must bring, computed without a line of coil.

usage: demos/expect.py SITE URL MIRROR REPORT

SITE is the directory that was served at URL; MIRROR is what the crawler wrote with --output, REPORT
what it printed with --json. The pages that can be reached from "/" are found here by reading the
files with html.parser and joining links with urllib. The crawl is right when it asked for each of
them once and for nothing else, got every file byte by byte, and got 404 for links to files that
the site does not have: those are dead links of the site and reported as such.

Prints one line of JSON with the numbers, and every difference on standard error. Exit status: 0
when there is none, 1 otherwise.
"""
import html.parser
import json
import pathlib
import sys
import urllib.parse

PLACES = {("a", "href"), ("area", "href"), ("link", "href"), ("img", "src"), ("script", "src"),
          ("iframe", "src"), ("frame", "src"), ("source", "src"), ("embed", "src"),
          ("audio", "src"), ("video", "src"), ("video", "poster"), ("track", "src"),
          ("input", "src"), ("object", "data")}
SHOWN = 20  # differences of a kind that are printed


class Links(html.parser.HTMLParser):
    """Collects the links of one page, as absolute URLs without fragments."""

    def __init__(self, url):
        super().__init__(convert_charrefs=True)
        self.base = url
        self.found = set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if not value:
                continue
            if (tag, name) == ("base", "href"):
                self.base = urllib.parse.urljoin(self.base, value)
            elif (tag, name) in PLACES:
                self.add(value)
            elif name == "srcset" and tag in ("img", "source"):
                for candidate in value.split(","):
                    self.add(candidate.split()[0])

    def add(self, link):
        url = urllib.parse.urljoin(self.base, link.strip())
        self.found.add(urllib.parse.urldefrag(url).url)


def normal(url):
    """One spelling per URL: what must be encoded is, and nothing else."""
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.quote(urllib.parse.unquote(parts.path or "/"), safe="/~!$&'()*+,;=:@")
    query = urllib.parse.quote(parts.query, safe="/~!$&'()*+,;=:@?%")
    return f"{parts.scheme}://{parts.netloc}{path}" + (f"?{query}" if parts.query else "")


def file_of(site, url):
    """The file behind a URL of the site, or None."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    file = site / path.lstrip("/")
    if path.endswith("/"):
        file /= "index.html"
    return file if file.is_file() else None


def mirrored(mirror, url):
    """Where the crawler writes the body of a URL."""
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.unquote(parts.path)
    if path.endswith("/"):
        path += "index.html"
    query = "?" + parts.query.replace("%", "%25").replace("/", "%2F") if parts.query else ""
    return mirror / parts.netloc / (path.lstrip("/") + query)


def reachable(site, start):
    """Walks the files. Returns the URLs that have one, as a dictionary, and the dead links."""
    origin = urllib.parse.urlsplit(start)[:2]
    alive, dead, todo = {}, set(), [normal(start)]
    while todo:
        url = todo.pop()
        if url in alive or url in dead:
            continue
        file = file_of(site, url)
        if not file:
            dead.add(url)
            continue
        alive[url] = file
        if file.suffix in (".html", ".htm"):
            links = Links(url)
            links.feed(file.read_text(encoding="utf-8", errors="surrogateescape"))
            todo += [normal(link) for link in links.found
                     if urllib.parse.urlsplit(link)[:2] == origin]
    return alive, dead


def complain(what, urls):
    """Prints differences of one kind; returns how many."""
    for url in sorted(urls)[:SHOWN]:
        print(f"expect: {what}: {url}", file=sys.stderr)
    if len(urls) > SHOWN:
        print(f"expect: {what}: {len(urls) - SHOWN} more", file=sys.stderr)
    return len(urls)


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    site, mirror = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
    lines = [json.loads(line) for line in open(sys.argv[4], encoding="ascii")]
    pages, summary = lines[:-1], lines[-1]
    alive, dead = reachable(site, sys.argv[2])

    came = {page["url"]: page for page in pages}
    same = {url for url, file in alive.items() if mirrored(mirror, url).is_file() and
            mirrored(mirror, url).read_bytes() == file.read_bytes()}
    files = {path for path in mirror.rglob("*") if path.is_file()}
    differences = sum([
        complain("not fetched", (alive.keys() | dead) - came.keys()),
        complain("not expected", came.keys() - alive.keys() - dead),
        complain("not 200", {url for url in alive.keys() & came.keys()
                             if came[url]["status"] != 200 or "error" in came[url]}),
        complain("dead, but not 404", {url for url in dead & came.keys()
                                       if came[url]["status"] != 404}),
        complain("not the same bytes", alive.keys() - same),
        complain("a file too many", {str(file) for file in
                                     files - {mirrored(mirror, url) for url in alive}}),
        complain("fetched twice", {page["url"] for page in pages if page is not came[page["url"]]}),
        complain("too little found to mean anything", {sys.argv[2]} if len(alive) < 2 else set()),
    ])
    print(json.dumps({
        "differences": differences, "expected": len(alive), "same": len(same),
        "expected_bytes": sum(file.stat().st_size for file in alive.values()),
        "dead": sorted(urllib.parse.urlsplit(url).path for url in dead),
        "pages": summary["pages"], "bytes": summary["bytes"],
        "seconds": summary["seconds"], "pages_per_second": summary["pages_per_second"],
        "peak_rss_kib": summary["peak_rss_kib"]}))
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
