"""An OpenAI-compatible server that answers each request by the best model within its budget."""
