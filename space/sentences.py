"""What the package says of a file, in French: English sentence, with its blanks, to French.

A test reads the package for sentences that are missing here.
"""

SENTENCES = {
    "the file is empty": ("le fichier est vide"),
    "there is no such file": ("ce fichier n’existe pas"),
    "this is a folder, not an image": ("c’est un dossier, pas une image"),
    "no permission to read the file": ("le fichier ne peut pas être lu : accès refusé"),
    "the file cannot be read: {reason}": ("le fichier ne peut pas être lu : {reason}"),
    "this is not the name of a file": ("ce n’est pas le nom d’un fichier"),
    "this is not an image that can be read (PNG, JPEG, TIFF, DICOM)": (
        "ce n’est pas une image lisible (PNG, JPEG, TIFF, DICOM)"
    ),
    "the image is damaged or cut short": ("l’image est endommagée ou tronquée"),
    "the image has values that are not numbers": (
        "l’image a des valeurs qui ne sont pas des nombres"
    ),
    "the file has more than {limit}": ("le fichier dépasse {limit}"),
    "the file has {size} MB; the limit is {limit}": (
        "le fichier a {size} Mo ; la limite est de {limit}"
    ),
    "the image has more than {limit} million pixels": (
        "l’image dépasse {limit} millions de pixels"
    ),
    "the image has more than {limit} pixels a side": ("l’image dépasse {limit} pixels par côté"),
    "the image has {width} x {height} pixels; at least {side} a side are needed": (
        "l’image a {width} × {height} pixels ; il en faut au moins {side} par côté"
    ),
    "the image uses less than half of its 16 bits a colour; save it in grey or with 8 bits": (
        "l’image n’utilise pas la moitié de ses 16 bits par couleur ; enregistrez-la "
        "en gris ou sur 8 bits"
    ),
    "the image takes too much memory to decode; save it smaller or with fewer bits": (
        "l’image demande trop de mémoire ; enregistrez-la plus petite ou sur moins de bits"
    ),
    "the image takes more than {count} s to decode; save it anew": (
        "l’image demande plus de {count} s ; enregistrez-la de nouveau"
    ),
    "the image is damaged: its decoder gave up": (
        "l’image est endommagée : son décodeur a abandonné"
    ),
    "the image is damaged: a checksum in the PNG file is wrong": (
        "l’image est endommagée : une somme de contrôle du fichier PNG est fausse"
    ),
    "the image is damaged: a part of it is overwritten with zeros": (
        "l’image est endommagée : une partie est écrasée par des zéros"
    ),
    "the image is damaged: a strip of the TIFF file is not whole": (
        "l’image est endommagée : une bande du fichier TIFF est incomplète"
    ),
    "the image is cut short: a part of the JPEG file is missing": (
        "l’image est tronquée : une partie du fichier JPEG manque"
    ),
    "the image is cut short: the last scans of the JPEG file are missing": (
        "l’image est tronquée : la fin du fichier JPEG manque"
    ),
    "the image is cut short: its strips in the TIFF file are too short": (
        "l’image est tronquée : les bandes du fichier TIFF sont trop courtes"
    ),
    "the TIFF file has tiles that are larger than the image; save it anew": (
        "le fichier TIFF a des tuiles plus grandes que l’image ; enregistrez-le de nouveau"
    ),
    "the GIF file has too many comments; save it anew": (
        "le fichier GIF a trop de commentaires ; enregistrez-le de nouveau"
    ),
    "the JPEG file has too many fill bytes; save it anew": (
        "le fichier JPEG a trop d’octets de remplissage ; enregistrez-le de nouveau"
    ),
    "the JPEG file has too many scans; save it anew": (
        "le fichier JPEG a trop de passes ; enregistrez-le de nouveau"
    ),
    "the JPEG file has too many segments; save it anew": (
        "le fichier JPEG a trop de segments ; enregistrez-le de nouveau"
    ),
    "the PNG file has too many chunks; save it anew": (
        "le fichier PNG a trop de blocs ; enregistrez-le de nouveau"
    ),
    "no process to decode it in can be started": (
        "aucun processus ne peut être lancé pour la décoder"
    ),
    "too many images are waiting; send this one again when some are answered": (
        "trop d’images attendent ; renvoyez celle-ci quand d’autres ont leur réponse"
    ),
    "the upload is no longer here: uploads leave after a while, and the oldest make "
    "room for new ones; send it again": (
        "le fichier n’est plus là : les fichiers partent après un moment, et les plus"
        " anciens font place aux nouveaux ; envoyez-le de nouveau"
    ),
    "DICOM files need pydicom: {command}": "les fichiers DICOM demandent pydicom : {command}",
    "the DICOM file says Bits Stored {stored} and High Bit {high}, which contradict each other; "
    "export it again": (
        "le fichier DICOM indique Bits Stored {stored} et High Bit {high}, qui se contredisent ; "
        "exportez-le de nouveau"
    ),
    "the DICOM file is damaged": ("le fichier DICOM est endommagé"),
    "the DICOM file is damaged or cut short": ("le fichier DICOM est endommagé ou tronqué"),
    "the DICOM file has no image in it": ("le fichier DICOM ne contient pas d’image"),
    "the DICOM file is cut short": ("le fichier DICOM est tronqué"),
    "the DICOM file is cut short: it ends before its image": (
        "le fichier DICOM est tronqué : il finit avant son image"
    ),
    "the DICOM file inflates to more than {limit} MB": (
        "le fichier DICOM décompressé dépasse {limit} Mo"
    ),
    "the DICOM file has a value that is too long": ("le fichier DICOM a une valeur trop longue"),
    "the DICOM file has more than {count} elements": (
        "le fichier DICOM a plus de {count} éléments"
    ),
    "the DICOM file has too many elements": ("le fichier DICOM a trop d’éléments"),
    "this is a ZIP archive: send it as a batch": (
        "c’est une archive ZIP : envoyez-la comme un lot d’images"
    ),
    "a ZIP archive inside a ZIP archive is not opened: send it on its own": (
        "une archive ZIP dans une archive ZIP n’est pas ouverte : envoyez-la seule"
    ),
    "the ZIP archive is damaged": ("l’archive ZIP est endommagée"),
    "the ZIP archive has no file in it": ("l’archive ZIP ne contient aucun fichier"),
    "the file is damaged inside the ZIP archive": ("le fichier est endommagé dans l’archive ZIP"),
    "the file is locked with a password": ("le fichier est protégé par un mot de passe"),
    "not read: at most {count} images at once": ("non lu : {count} images à la fois au plus"),
    "not read: the archive has more than {count} entries": (
        "non lu : l’archive a plus de {count} entrées"
    ),
    "not read: the archive unpacks to more than {limit} MB": (
        "non lu : l’archive décompressée dépasse {limit} Mo"
    ),
    "no image was sent": ("aucune image n’a été envoyée"),
    "The file has {count} frames; only the first was used.": (
        "Le fichier a {count} images ; seule la première a été utilisée."
    ),
    "The file has several frames; only the first was used.": (
        "Le fichier a plusieurs images ; seule la première a été utilisée."
    ),
    "The file says that this is a lateral view: the answer means nothing.": (
        "Le fichier dit que c’est un cliché de profil : la réponse ne veut rien dire."
    ),
    "This image looks as if it is a negative; it was set right before it was judged.": (
        "Cette image semble être un négatif ; elle a été redressée avant d’être jugée."
    ),
    "This image looks as if it lies on its side; it was set right before it was judged.": (
        "Cette image semble être couchée sur le côté ; elle a été redressée avant d’être jugée."
    ),
    "This image looks as if it lies on its other side; it was set right before it was judged.": (
        "Cette image semble être couchée sur l’autre côté ; elle a été redressée "
        "avant d’être jugée."
    ),
    "This image looks as if it is upside down; it was set right before it was judged.": (
        "Cette image semble être à l’envers ; elle a été redressée avant d’être jugée."
    ),
    "The window in the file hides nearly all of the image and was left out.": (
        "La fenêtre du fichier cache presque toute l’image et a été laissée de côté."
    ),
    "The file does not say whether low values are black or white (Photometric "
    "Interpretation): black was taken.": (
        "Le fichier ne dit pas si les valeurs basses sont noires ou blanches "
        "(Photometric Interpretation) : elles ont été prises pour noires."
    ),
    "The file contradicts itself on black and white (MONOCHROME2 with Presentation "
    "LUT Shape INVERSE): the shape was applied, and they may be exchanged.": (
        "Le fichier se contredit sur le noir et le blanc (MONOCHROME2 avec "
        "Presentation LUT Shape INVERSE) : la forme a été appliquée, et ils sont "
        "peut-être échangés."
    ),
    "Taken together, these {n} images differ from those of the hospitals that the "
    "model knows ({value}; theirs stay below {limit}): expect what its card says of "
    "hospitals that it has not seen.": (
        "Prises ensemble, ces {n} images diffèrent de celles des hôpitaux que le "
        "modèle connaît ({value} ; les leurs restent sous {limit}) : attendez-vous à "
        "ce que sa fiche dit des hôpitaux qu’il n’a pas vus."
    ),
    "This image is like the training images only when it is smoothed, as noisy or "
    "strongly compressed ones are: the answer is less certain.": (
        "Cette image ne ressemble aux images d’entraînement qu’une fois lissée, comme"
        " une image bruitée ou fortement comprimée : la réponse est moins certaine."
    ),
    "This image is in colour, as a photograph of a screen is and a radiograph is not: "
    "the answer is less certain.": (
        "Cette image est en couleur, comme la photographie d’un écran et non comme une "
        "radiographie : la réponse est moins certaine."
    ),
    "This image differs from nearly all training images, as drawings and photographs "
    "of a screen do: the answer is less certain.": (
        "Cette image diffère de presque toutes les images d’entraînement, comme les dessins "
        "et les photographies d’un écran : la réponse est moins certaine."
    ),
    "The two halves of this image differ more than in frontal radiographs: if it is a "
    "lateral radiograph, the answer means nothing.": (
        "Les deux moitiés de cette image diffèrent plus que sur un cliché de face : "
        "si c’est un profil, la réponse ne veut rien dire."
    ),
    "the DICOM file inflates to more than {limit}": (
        "le fichier DICOM décompressé dépasse {limit}"
    ),
    "there is no room for uploads at the moment; try again later": (
        "il n’y a pas de place pour des envois en ce moment ; réessayez plus tard"
    ),
    "The file contradicts itself on black and white (MONOCHROME1 with Presentation "
    "LUT Shape IDENTITY): the shape was not applied, and they may be exchanged.": (
        "Le fichier se contredit sur le noir et le blanc (MONOCHROME1 avec "
        "Presentation LUT Shape IDENTITY) : la forme n’a pas été appliquée, et ils "
        "peuvent être échangés."
    ),
    "the DICOM file is cut short; copy or export it again": (
        "le fichier DICOM est tronqué ; copiez-le ou exportez-le de nouveau"
    ),
    "the DICOM file has its pixels as floating-point numbers; export it with whole ones": (
        "le fichier DICOM a ses pixels en nombres à virgule ; exportez-le en nombres entiers"
    ),
    "the DICOM file is compressed as {name}, which cannot be read here; {remedy}": (
        "le fichier DICOM est compressé en {name}, illisible ici ; à faire : {remedy}"
    ),
    "the DICOM file is damaged: its pixels have another size than its tags say": (
        "le fichier DICOM est endommagé : ses pixels n’ont pas la taille annoncée"
    ),
    "the DICOM file lacks the palette of its colours; export it again": (
        "il manque au fichier DICOM la palette de ses couleurs ; exportez-le de nouveau"
    ),
    "the DICOM file does not say its Rows and Columns; export it again": (
        "le fichier DICOM ne dit pas sa taille (Rows, Columns) ; exportez-le de nouveau"
    ),
    "The file's {tag} cannot be read and was left out.": (
        "Dans le fichier, {tag} est illisible et a été laissé de côté."
    ),
    "this is a git-lfs pointer, not the file itself; get that with: git lfs pull": (
        "c’est un pointeur git-lfs, non le fichier même ; obtenez-le par : git lfs pull"
    ),
    "this is an archive; unpack it and give the images in it": (
        "c’est une archive ; décompressez-la et donnez les images qu’elle contient"
    ),
    "this is a JPEG 2000 image; save it as PNG": (
        "c’est une image JPEG 2000 ; enregistrez-la en PNG"
    ),
    "this is a TIFF of a kind that cannot be read here; save it as 8 or 16 bits of grey": (
        "c’est un TIFF d’un genre illisible ici ; enregistrez-le en gris de 8 ou 16 bits"
    ),
    "this is a HEIC photo, as iPhones take them; save or export it as JPEG or PNG, or"
    ' set the camera to "Most Compatible"': (
        "c’est une photo HEIC, comme en font les iPhone ; enregistrez-la en JPEG ou PNG"
    ),
    "this is a PDF; export its image as PNG or DICOM": (
        "c’est un PDF ; exportez-en l’image en PNG ou DICOM"
    ),
    "this is a ZIP archive; unpack it and give the images in it": (
        "c’est une archive ZIP ; décompressez-la et donnez les images qu’elle contient"
    ),
    "this is a NumPy file; load it and give the array": (
        "c’est un fichier NumPy ; chargez-le et donnez le tableau"
    ),
    "this is text, perhaps an image in base64; decode it first": (
        "c’est du texte, peut-être une image en base64 ; décodez-la d’abord"
    ),
    "this is an address; download the file and give its path": (
        "c’est une adresse ; téléchargez le fichier et donnez-en le chemin"
    ),
    "the TIFF file has a preview where its image should be; save it anew": (
        "le fichier TIFF a un aperçu à la place de son image ; enregistrez-le de nouveau"
    ),
    "this is an AVIF image; save it as PNG or JPEG": (
        "c’est une image AVIF ; enregistrez-la en PNG ou JPEG"
    ),
    "this is a JPEG XL image; save it as PNG or JPEG": (
        "c’est une image JPEG XL ; enregistrez-la en PNG ou JPEG"
    ),
    "this is a Photoshop file; save it as PNG or JPEG": (
        "c’est un fichier Photoshop ; enregistrez-le en PNG ou JPEG"
    ),
    "this is a NIfTI volume; save it as PNG or JPEG": (
        "c’est un volume NIfTI ; enregistrez-le en PNG ou JPEG"
    ),
    "this is a video; save one frame as PNG": ("c’est une vidéo ; enregistrez-en une image en PNG"),
    "this is damaged": ("ce fichier est endommagé"),
    "this is a web page or other text, not an image; download the file itself": (
        "c’est une page web ou un autre texte, pas une image ; téléchargez le fichier même"
    ),
    "the file is of a kind that holds no image": (
        "le fichier est d’un genre qui ne contient pas d’image"
    ),
    "the array has no values but 0 and 1, as a mask has; values from 0 to 255 are needed": (
        "l’image n’a que les valeurs 0 et 1, comme un masque ; il en faut de 0 à 255"
    ),
    # === Of the page that never uploads (space/static) ===
    "the image is of a kind that this page cannot read; save it as PNG or JPEG": (
        "l’image est d’un genre que cette page ne sait pas lire ; enregistrez-la en PNG ou JPEG"
    ),
    "the model of this page is damaged or incomplete; load the page again": (
        "le modèle de cette page est endommagé ou incomplet ; rechargez la page"
    ),
    "this browser cannot run the model (WebAssembly with SIMD is missing or forbidden); "
    "use a newer one": (
        "ce navigateur ne peut pas exécuter le modèle (WebAssembly avec SIMD manque ou est "
        "interdit) ; utilisez-en un plus récent"
    ),
}
