"""The only folder that touches ``cryptography``. Keys and hashes here know nothing of messages."""
