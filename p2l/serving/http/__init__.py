"""HTTP parts that both servers share."""
