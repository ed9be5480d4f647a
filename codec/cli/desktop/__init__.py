"""The file type `.ctm` for desktops: media type, magic, thumbnails.

::

    cotam.magic ------> ~/.magic                                  file
    cotam.xml --------> $XDG_DATA_HOME/mime/packages/             file managers, xdg-mime, gio
    thumbnailer ------> $XDG_DATA_HOME/thumbnailers/              `cotam desktop thumbnail`
"""
