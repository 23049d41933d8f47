"""From the dotenv files of the guide to resources."""
