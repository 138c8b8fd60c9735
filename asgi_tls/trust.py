"""Bundles of CA certificates: whom a server accepts as clients, whom a client accepts as servers."""

from __future__ import annotations
