"""Scrapy over tlsprovider, with one trust store for all hosts.

    scrapy runspider pages.py -a url=https://localhost:8443/ -s TRUST_ROOTS=ca.pem -O pages.json

Without TRUST_ROOTS it is whom the system trusts. By itself Scrapy verifies no certificate unless told to; this does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import scrapy
from scrapy.crawler import Crawler
from scrapy.http import Response

from tlsprovider import ClientConfig, TrustStore
from tlsprovider.twisted import HTTPSPolicy


class Policy(HTTPSPolicy):
    @classmethod
    def from_crawler(cls, crawler: Crawler, **settings: Any) -> Self:
        roots = crawler.settings.get("TRUST_ROOTS")
        return cls(ClientConfig(trust=TrustStore.from_file(roots)) if roots else ClientConfig())


class Pages(scrapy.Spider):
    """Gives the address, length and application protocol of one page, and of those that it links to."""

    name = "pages"
    custom_settings: ClassVar = {"DOWNLOADER_CLIENTCONTEXTFACTORY": Policy, "DEPTH_LIMIT": 1}

    def __init__(self, url: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.start_urls = [url]

    def parse(self, response: Response, **arguments: Any) -> Iterator[Any]:
        yield {"url": response.url, "length": len(response.body), "protocol": response.protocol}
        yield from response.follow_all(css="a", callback=self.parse)
