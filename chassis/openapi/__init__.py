"""The OpenAPI document of a service (Swagger 2.0, by drf-yasg) and its pages.

Most of it is derived from views, serializers, filters and permissions. The rest is in `swagger_auto_schema` at each
view, and in the `help_text` of each field and filter.
"""
