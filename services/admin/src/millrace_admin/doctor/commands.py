"""The commands that mend, as they are typed where the platform runs: with Docker, in a demo, on an edge box."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Commands:
    """up: makes what is missing and starts what does not run. The others name a part, or take arguments."""

    place: str
    up: str
    restart_with: str
    logs_of: str
    admin_with: str
    inside_of: str
    upgrade: str
    named: str = "{part}"
    """How `restart_with` names a part."""

    def restart(self, *parts: str) -> str:
        return self.restart_with.format(parts=" ".join(self.named.format(part=part) for part in parts))

    def logs(self, part: str) -> str:
        return self.logs_of.format(part=part)

    def admin(self, arguments: str) -> str:
        """A command of `millrace`."""
        return self.admin_with.format(arguments=arguments)

    def inside(self, part: str, arguments: str) -> str:
        """A command of the part's own, with its settings."""
        return self.inside_of.format(part=part, arguments=arguments)


COMPOSE = Commands(
    place="compose",
    up="docker compose up -d",
    restart_with="docker compose restart {parts}",
    logs_of="docker compose logs --since 10m {part}",
    admin_with="docker compose run --rm admin {arguments}",
    inside_of="docker compose exec {part} millrace-{part} {arguments}",
    upgrade="docker compose up -d --build --wait",
)


def demo_commands(state: str) -> Commands:
    """Of a demo that keeps its state in this folder. It starts its parts again by itself."""
    again = "end the demo with Ctrl-C and start it again: make demo"
    return Commands(
        place="demo",
        up=again,
        restart_with="kill $(cat {parts}), and the demo starts it again",
        logs_of=f"tail {state}/logs/{{part}}.log",
        admin_with=f"millrace {{arguments}} --secrets {state}/secrets",
        inside_of="millrace-{part} {arguments} (with the settings of {part})",
        upgrade=again,
        named=f"{state}/logs/{{part}}.pid",
    )


EDGE = Commands(
    place="edge",
    up="systemctl enable --now millrace-gateway",
    restart_with="systemctl restart millrace-gateway",
    logs_of="millrace-edge logs --since -10min",
    admin_with="on the server: docker compose run --rm admin {arguments}",
    inside_of="millrace-edge gateway {arguments}",
    upgrade="install of a newer bundle",
)
