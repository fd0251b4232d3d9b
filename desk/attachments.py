"""Files that customers sent, for whoever may read the conversation: saved by the browser, never run in it."""
from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from starlette.responses import FileResponse

from crm_store.errors import NotFound
from crm_store.models import SupportAgent
from crm_store.rules.attachments import DOWNLOAD_HEADERS
from crm_store.services.access import access_conversation
from crm_store.services.attachments import access_attachment
from desk import auth, panes
from desk.deps import DeskDeps, deps_of
from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/desk/attachments/{token}")
def download(token: str, deps: DeskDeps = Depends(deps_of),
             agent: SupportAgent = Depends(auth.current_agent)) -> Response:
    """A file. It is a look at its conversation, and recorded as one."""
    now = deps.clock()
    with deps.store.read() as session:
        found, conversation_id = access_attachment(session, agent, token)
        name, media_type = found.name, found.media_type
        recorded = panes.look_is_recorded(session, agent, conversation_id, now)
    path = deps.files.path_of(token)
    if path is None:
        raise NotFound(token=token)
    if not recorded:
        with deps.store.write() as session:
            panes.record_look(session, agent, access_conversation(session, agent, conversation_id), now)
    return FileResponse(path, media_type=media_type, filename=name, headers=DOWNLOAD_HEADERS)
