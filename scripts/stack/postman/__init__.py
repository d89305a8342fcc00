"""Writes postman/: requests come from the services' OpenAPI documents, their order and tests from the story."""
