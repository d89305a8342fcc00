from django.dispatch import Signal

request_limited = Signal()  # scope
