"""Live: running servers, and a Prometheus that watched them, in; what differs from the plan and what was asked, out.

``pages`` asks for one page, ``asked`` what a server says of itself, ``local`` what this machine says of its process,
``drift`` holds both against the plan, ``scheduled`` what kubectl wrote of pods (``pod``) against those that are
``wanted``, ``observed`` turns a week of metrics into what a fleet may ask for, and ``loaded`` what load.sh measured
into load tests.
"""
