"""What coding agents put around the user's words in messages of the user, and how to tell it from them."""

import re
from dataclasses import dataclass
from functools import cached_property

from p2l.errors import ConfigError

_TAG_NAME = re.compile(r"[A-Za-z_][\w:.-]*")


@dataclass(frozen=True)
class HarnessRule:
    """How one harness marks its own text.

    Attributes:
        remove: names of tags; what stands from ``<name>`` to the next ``</name>`` is the harness's.
        drop: regular expressions for the beginning of a turn that is the harness's as a whole, such as a tool's result.
        keep: names of tags. If a turn has text of this harness, only what stands inside of these is the user's.
    """

    remove: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.remove and not self.drop:
            raise ConfigError("give remove or drop, the marks of the harness's text; null turns a known rule off")
        for name in (*self.remove, *self.keep):
            if not _TAG_NAME.fullmatch(name):
                raise ConfigError(f"a tag is its name without brackets, such as system-reminder; got {name!r}")
        if both := set(self.remove) & set(self.keep):
            raise ConfigError(f"{min(both)!r} is in remove and in keep")
        if any(pattern.match("") for pattern in self.patterns):
            raise ConfigError("a pattern of drop matches every turn: it must need some text")

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The compiled ``drop``; ConfigError if one is no regular expression."""
        found = []
        for text in self.drop:
            try:
                found.append(re.compile(text))
            except re.error as error:
                raise ConfigError(f"drop: {text!r} is not a regular expression ({error})") from None
        return tuple(found)


# By what these programs send, in November 2026. Sources:
# claude-code: anthropics/claude-code, its requests behind a proxy; OpenCode has the same reminders
# cline: cline/cline src/core/prompts/responses.ts, RooVetGit/Roo-Code src/core/task
# cursor: what Cursor sends to a server of one's own (override of the OpenAI base URL)
# codex: openai/codex codex-rs/core, user instructions and environment context
# copilot: microsoft/vscode-copilot-chat src/extension/prompts/node/agent/agentPrompt.tsx
# gemini-cli: google-gemini/gemini-cli packages/core/src/utils/environmentContext.ts; Qwen Code is a fork
# aider: Aider-AI/aider aider/coders/*_prompts.py
KNOWN_RULES: dict[str, HarnessRule] = {
    "claude-code": HarnessRule(
        remove=(
            *("system-reminder", "task-notification", "user-prompt-submit-hook"),
            *("local-command-caveat", "local-command-stdout", "local-command-stderr"),
            *("command-name", "command-message", "bash-stdout", "bash-stderr"),
        ),
        drop=(r"\[Request interrupted by user",),
    ),
    "cline": HarnessRule(
        remove=("environment_details",),
        drop=(r"\[\w+( for '.*)?\] Result:", r"\[ERROR\] You did not use a tool", r"\[TASK RESUMPTION\]"),
        keep=("task", "feedback", "user_message"),
    ),
    "cursor": HarnessRule(
        remove=(
            *("additional_data", "attached_files", "open_and_recently_viewed_files"),
            *("system_reminder", "user_info", "project_layout", "git_status"),
        ),
        keep=("user_query",),
    ),
    "codex": HarnessRule(
        remove=("environment_context", "user_instructions", "turn_aborted"),
        drop=(r"# AGENTS\.md instructions for ",),
    ),
    "copilot": HarnessRule(
        remove=("reminderInstructions", "environment_info", "workspace_info", "editorContext"),
        keep=("userRequest",),
    ),
    "gemini-cli": HarnessRule(
        remove=("session_context",),
        drop=(r"This is the (Gemini CLI|Qwen Code)\. We are setting up the context",),
    ),
    "aider": HarnessRule(
        drop=(
            r"I have \*added these files to the chat\*",
            r"(I am working with you on code in a git repository\.\n)?Here are summaries of some files present in my",
            r"Here are some READ ONLY files",
        ),
    ),
}
