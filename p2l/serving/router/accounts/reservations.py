"""The amount that one request holds in the budget of its key."""

from dataclasses import dataclass

from p2l.serving.router.accounts.ledger import HeldAmount, Ledger
from p2l.serving.router.config.key_config import KeyConfig


@dataclass
class Reservation:
    """At most one held amount, and what one request has been charged. Settle or release it when the request ends."""

    ledger: Ledger
    key: KeyConfig
    held: HeldAmount | None = None
    charged: float = 0.0
    is_over: bool = False

    def reserve(self, amount: float) -> bool:
        """Hold this amount instead of the previous one; False if the budget is too small."""
        if self.held is not None:
            self.ledger.settle(self.key, self.held, 0.0)
        self.held = None
        self.held = self.ledger.hold(self.key, amount)
        return self.held is not None

    def charge(self, cost: float) -> None:
        """Charge a cost beside the held amount, whatever becomes of the request."""
        self.ledger.charge(self.key, cost)
        self.charged += cost

    def settle(self, actual: float) -> None:
        """Charge the actual cost instead of the held amount, if there is one; later calls change nothing."""
        if self.is_over:
            return
        self.is_over = True
        if self.held is not None:
            self.ledger.settle(self.key, self.held, actual)
            self.charged += actual
        else:
            self.charge(actual)

    def release(self) -> None:
        """Charge nothing more."""
        self.settle(0.0)
