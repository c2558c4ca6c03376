"""The amount that one request holds in the budget of its key."""

from dataclasses import dataclass

from p2l.serving.router.accounts.ledger import HeldAmount, Ledger
from p2l.serving.router.config.key_config import KeyConfig


@dataclass
class Reservation:
    """At most one held amount. Settle or release it when the request ends."""

    ledger: Ledger
    key: KeyConfig
    held: HeldAmount | None = None

    def reserve(self, amount: float) -> bool:
        """Hold this amount instead of the previous one; False if the budget is too small."""
        self.release()
        self.held = self.ledger.hold(self.key, amount)
        return self.held is not None

    def settle(self, actual: float) -> None:
        """Charge the actual cost instead of the held amount; later calls change nothing."""
        if self.held is not None:
            self.ledger.settle(self.key, self.held, actual)
            self.held = None

    def release(self) -> None:
        """Charge nothing."""
        self.settle(0.0)
