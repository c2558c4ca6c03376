"""Install a wheel into an empty environment and run p2l there, outside the repository.

``python .ci/smoke_wheel.py dist/<wheel>``: rank, train, predict, leaderboard, endpoint, router. What the wheel did not
carry or require fails here, since the environment has nothing else; pip's cache spares the downloads.
"""

import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = os.environ.get("TORCH", "torch==2.13.0")
KEY = "smoke"
PROMPT = "What is 1+1?"
TINY = "trainer=cpu trainer.max_steps=2 data.votes_per_prompt=1 model.num_layers=1 model.max_length=16 logger=csv"


def main() -> None:
    wheel = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="p2l-wheel-") as name:
        folder = Path(name)
        install(wheel, folder / "env")
        os.chdir(folder)
        p2l = P2L(folder / "env" / "bin" / "p2l")
        p2l.run("--help")
        p2l.run("rank", PROMPT)  # by the checkpoint in the wheel
        p2l.run("train", "model=minilm", *TINY.split(), "output_dir=run")
        Path("prompts.jsonl").write_text(json.dumps({"prompt": PROMPT}) + "\n")
        p2l.run("predict", "model_path=run/checkpoint", "dataset=prompts.jsonl", "output=ranked.jsonl", "trainer=cpu")
        models = json.loads(Path("run/checkpoint/model_list.json").read_text())
        (row,) = map(json.loads, Path("ranked.jsonl").read_text().splitlines())
        expect(len(row["coefs"]) == len(models), row)
        check_leaderboard(p2l)
        check_servers(p2l, models)
    print("the wheel works")


def install(wheel: Path, folder: Path) -> None:
    """Install torch first, so that its CPU build is kept, then the wheel with two extras."""
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, TORCH], check=True)
    subprocess.run([*pip, f"{wheel}[demo,serve]"], check=True)


class P2L:
    """The console command of the environment, without what this process has in its own."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.environment |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}

    def run(self, *arguments: str) -> None:
        subprocess.run([self.program, *arguments], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    @contextmanager
    def serve(self, *arguments: str) -> Iterator[str]:
        """Run a server and yield its address when it is ready."""
        port = free_port()
        process = subprocess.Popen([self.program, *arguments, "--port", str(port)], env=self.environment)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(f"{url}/ready", process)
            yield url
        finally:
            process.terminate()
            expect(process.wait(60) == 0, arguments)


def check_leaderboard(p2l: P2L) -> None:
    rows = [("ant", "bee", "model_a"), ("ant", "bee", "model_a"), ("bee", "ant", "model_a"), ("ant", "bee", "tie")] * 5
    with Path("votes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("model_a", "model_b", "winner"), *rows])
    p2l.run("leaderboard", "votes=votes.csv", "output_dir=board")
    with Path("board/leaderboard-all.csv").open() as file:
        best, *_ = csv.DictReader(file)
    expect(best["model"] == "ant", best)


def check_servers(p2l: P2L, models: list[str]) -> None:
    """Ask the endpoint for scores, then the router, which asks the endpoint and a provider of our own."""
    endpoint = p2l.serve("endpoint", "--model-path", "run/checkpoint", "--no-cuda", "--api-key", KEY)
    with endpoint as scores, provider() as upstream:
        answer = ask(f"{scores}/predict", {"prompt": [PROMPT]}, {"api-key": KEY})
        expect(len(answer["coefs"]) == len(models), answer)
        model = {"name": models[0], "type": "openai", "api_key": "-", "base_url": f"{upstream}/v1", "cost": 1}
        Path("config.yaml").write_text(json.dumps({"model_configs": {models[0]: model}}))
        options = ["--router-type", "grk-endpoint", "--router-model-endpoint", scores, "--router-api-key", KEY]
        with p2l.serve("router", "--config", "config.yaml", *options, "--api-key", KEY) as router:
            request = {"model": "-", "messages": [{"role": "user", "content": PROMPT}]}
            answer = ask(f"{router}/v1/chat/completions", request, {"authorization": f"Bearer {KEY}"})
            expect(answer["choices"][0]["message"]["content"] == "2", answer)


@contextmanager
def provider() -> Iterator[str]:
    """Serve one completion to all who ask, as a provider would."""
    message = {"role": "assistant", "content": "2"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    completion = {**head, "choices": [choice], "usage": usage}
    body = json.dumps(completion).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(url: str, body: dict[str, object], headers: dict[str, str]) -> dict:
    headers = {"content-type": "application/json", **headers}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def wait_until_ready(url: str, process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        expect(process.poll() is None, f"{process.args} exited with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"{url} was not ready within {seconds:g} s")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def expect(holds: bool, found: object) -> None:
    if not holds:
        raise SystemExit(f"the wheel does not work: {found}")


if __name__ == "__main__":
    main()
