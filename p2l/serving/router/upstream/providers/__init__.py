"""How each type of provider is called: pure translations of requests and answers."""
