"""The OpenAPI document of a service (Swagger 2.0, by drf-yasg) and its pages.

Most of it is derived from views, serializers, filters and permissions. The rest comes from `swagger_auto_schema` on
each view and from the `help_text` of fields and filters.
"""
