#!/usr/bin/env python3
"""Writes commands.digest: what a reference server says of each of its commands, one line a command.

    digest.py HOST PORT > commands.digest

The table tests of src/command/mod.rs compare our table with it. Columns, separated by tabs: name (parent|child for
subcommands), arity, flags, ACL categories, key specs, tips, group, since. A key spec is `flags@search:find`, specs are
separated by `;`, an empty list is `-`.
"""

import socket
import sys


class Server:
    """A connection that speaks just enough RESP2 to ask two questions."""

    def __init__(self, host, port):
        self.stream = socket.create_connection((host, port)).makefile("rwb")

    def ask(self, *words):
        self.stream.write(b"*%d\r\n" % len(words))
        for word in words:
            self.stream.write(b"$%d\r\n%s\r\n" % (len(word), word.encode()))
        self.stream.flush()
        return self.reply()

    def reply(self):
        line = self.stream.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.stream.read(length + 2)[:-2].decode()
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        raise SystemExit(f"unexpected reply {line!r}")


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def search(spec):
    kind, of = spec["type"], pairs(spec["spec"])
    if kind == "index":
        return f"index {of['index']}"
    if kind == "keyword":
        return f"keyword {of['keyword']} {of['startfrom']}"
    return kind


def find(spec):
    kind, of = spec["type"], pairs(spec["spec"])
    if kind == "range":
        return f"range {of['lastkey']} {of['keystep']} {of['limit']}"
    if kind == "keynum":
        return f"keynum {of['keynumidx']} {of['firstkey']} {of['keystep']}"
    return kind


def words(values, separator=","):
    return separator.join(values) if values else "-"


def key_spec(flat):
    spec = pairs(flat)
    flags = words(sorted(spec["flags"]))
    return f"{flags}@{search(pairs(spec['begin_search']))}:{find(pairs(spec['find_keys']))}"


def rows(commands, docs):
    for command in commands:
        name, arity, flags, _, _, _, categories, tips, specs, children = command[:10]
        doc = pairs(docs[name])
        yield [
            name,
            str(arity),
            words(sorted(flags)),
            words(sorted(categories)),
            words([key_spec(spec) for spec in specs], ";"),
            words(tips),
            doc["group"],
            doc["since"],
        ]
        if children:
            inner = {child: pairs_of for child, pairs_of in pairs(doc["subcommands"]).items()}
            yield from rows(children, inner)


def main():
    server = Server(sys.argv[1], int(sys.argv[2]))
    table = list(rows(server.ask("COMMAND"), pairs(server.ask("COMMAND", "DOCS"))))
    version = pairs([part for line in server.ask("INFO", "server").splitlines() if ":" in line
                     for part in line.split(":", 1)])
    name = version.get("valkey_version", version["redis_version"])
    print(f"# {version.get('server_name', 'redis')} {name}: made by compat-tests/digest.py, not by hand")
    for row in sorted(table):
        print("\t".join(row))


main()
