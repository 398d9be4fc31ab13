"""What a sweep would cost, before it starts: memory of its structures, and hours by the pace of a short step."""
