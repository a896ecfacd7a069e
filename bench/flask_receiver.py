"""The receiver that a tutorial ends with: Flask, sqlite3 from Python's library, one commit per request.

Run by gunicorn; DATABASE and SECRET come from the environment. Part of scripts/bench, nothing else.
"""

import hashlib
import hmac
import os
import sqlite3

from flask import Flask, abort, g, jsonify, request

app = Flask(__name__)
DATABASE = os.environ["DATABASE"]
SECRET = os.environ["SECRET"].encode()


def database():
    """One connection per request, as Flask's own tutorial has it."""
    if "database" not in g:
        g.database = sqlite3.connect(DATABASE)
    return g.database


@app.teardown_appcontext
def close_database(_error):
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


def create_table():
    connection = sqlite3.connect(DATABASE)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS delivery ("
        " id INTEGER PRIMARY KEY, delivery TEXT NOT NULL, event TEXT NOT NULL, body BLOB NOT NULL)"
    )
    connection.commit()
    connection.close()


@app.post("/webhooks/github")
def receive():
    body = request.get_data()
    wanted = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, request.headers.get("X-Hub-Signature-256", "")):
        abort(401)
    connection = database()
    cursor = connection.execute(
        "INSERT INTO delivery (delivery, event, body) VALUES (?, ?, ?)",
        (request.headers["X-GitHub-Delivery"], request.headers["X-GitHub-Event"], body),
    )
    connection.commit()
    return jsonify(status="accepted", id=cursor.lastrowid)


create_table()
