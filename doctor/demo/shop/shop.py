"""The shop: orders ask the inventory over HTTP, the search ranks products in Python."""

import os
import urllib.request

from flask import Flask

app = Flask(__name__)
INVENTORY = os.environ["INVENTORY_URL"]
PRODUCTS = [f"product {number}" for number in range(2003)]


@app.get("/health")
def health() -> str:
    return "ok\n"


@app.get("/orders")
def place_order() -> dict[str, str]:
    return {"in_stock": ask_inventory("anvil")}


def ask_inventory(product: str) -> str:
    with urllib.request.urlopen(f"{INVENTORY}/{product}") as answer:
        stock: bytes = answer.read()
    return stock.decode()


@app.get("/search")
def search() -> dict[str, list[str]]:
    return {"best": rank_products("anvil")[:3]}


def rank_products(query: str) -> list[str]:
    return sorted(PRODUCTS, key=lambda product: edit_distance(query, product))


def edit_distance(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row = row, [i]
        for j, b in enumerate(right, 1):
            row.append(min(row[-1] + 1, previous[j] + 1, previous[j - 1] + (a != b)))
    return row[-1]
