"""Keys' budgets: ledger, reservations, pricing."""
