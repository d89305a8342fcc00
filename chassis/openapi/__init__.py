"""The OpenAPI document of a service (Swagger 2.0, by drf-yasg) and its pages.

What can be told from views, serializers, filters and permissions is derived from them. The rest stands in the `openapi`
module of each app, once for each operation.
"""
