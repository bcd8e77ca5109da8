"""Live: a camera in the style of your choice, with the net as the only limit.

    source ─capture thread→ slot ─net thread→ channel ─┬→ page (WebRTC, MJPEG)
                                                       ├→ window, virtual camera
                                                       └→ recording

A slot holds the newest frame only: what a slow reader has not taken is replaced and counted as dropped, so that no
delay can grow anywhere. Every frame carries the time of its capture to the display. Sources are in `sources`, the net
thread in `pipeline`, what a user can change in `controls`, and the displays in `page`, `window` and `virtual_camera`.
"""
