"""The schemas that the proxy serves; whatever is not in the table is not served.

To add one, write a file with a subclass of `guard.proxy.schemas.base.Schema` and list it here.
"""

from guard.proxy.schemas.base import Schema
from guard.proxy.schemas.chat import Chat
from guard.proxy.schemas.completions import Completions
from guard.proxy.schemas.counting import CountTokens
from guard.proxy.schemas.embeddings import Embeddings
from guard.proxy.schemas.messages import Messages
from guard.proxy.schemas.responses import Responses

SCHEMAS: tuple[Schema, ...] = (
    Chat(),
    Completions(),
    Responses(),
    Messages(),
    CountTokens(),
    Embeddings(),
)
