"""The OpenAPI document of a service (Swagger 2.0, by drf-yasg) and its pages.

What follows from views, serializers, filters and permissions is derived from them. The rest is at each view, in
`swagger_auto_schema`, and at each field, in `help_text`.
"""
