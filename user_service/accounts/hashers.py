from django.contrib.auth.hashers import Argon2PasswordHasher


class SmallArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id at 19 MiB, 2 passes, 1 lane: OWASP's first choice. Django's 100 MiB do not fit a small server."""

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1
