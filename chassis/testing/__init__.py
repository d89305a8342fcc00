"""What the tests of chassis and of both services share."""
