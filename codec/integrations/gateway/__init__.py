"""The gateway of `cotam serve`: OpenAI-style requests with `.ctm` pictures, for any upstream.

::

    client --request with .ctm--> limits -> conversion -> forwarding --WebP, JPEG, PNG--> upstream
           <------------------ the answer as it comes, streams included -----------------

`app.application` makes it, and `pip install 'cotam[serve]'` installs its dependencies.
"""
