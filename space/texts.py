"""Every sentence of the page, in English and French, and numbers as each language writes them."""

import re

import gradio as gr

LANGUAGES = ("en", "fr")

EN = {
    # === Page ===
    "title": "AIHealth: chest radiographs",
    "lead": "A small neural network compares a chest radiograph with films labelled Covid, Normal "
    "and Pneumonia. For research and teaching. <strong>Not a medical device.</strong>",
    "drawn": "<strong>Demonstration model.</strong> This model was trained on drawn pictures, not "
    "on radiographs. Its answers about real radiographs mean nothing.",
    "tab_one": "One image",
    "tab_many": "Many images",
    "tab_api": "API",
    "footer": "Uploads are deleted from this server within the hour. Nothing is logged, kept for "
    "training or sent elsewhere. Remove names and dates from your images all the same.",
    # === One image ===
    "upload": "<strong>Your radiograph</strong>: drop, paste or choose a file. PNG, JPEG, TIFF or "
    "DICOM, up to 50 MB.",
    "examples": "Or try an example. These are drawn, not taken of anyone: they show the page, not "
    "the model.",
    "examples_own": "Or try an example from the publisher of this page.",
    "image_alt": "The image, in grey levels, {width} by {height} pixels",
    "most_like": "Most like",
    "not_sure": "Not sure",
    "not_sure_why": "No class reaches {limit}, the level below which this model gives no answer.",
    "not_chest": "This does not look like a chest radiograph",
    "not_chest_why": "Its distance from the training images is {score}; up to {limit} counts as a "
    "chest radiograph. Probabilities would mean nothing here, so none are shown.",
    "cannot_use": "This file cannot be used",
    "probabilities": "Probabilities, kept cautious",
    "only_three": "The model knows these three classes only. Whatever the film shows, the three "
    "numbers add up to 100%.",
    # === Viewer ===
    "overlay": "Evidence map",
    "overlay_off": "Off",
    "overlay_note": "Where the network found evidence for a class. It is no outline of a lesion.",
    "strength": "Map strength",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "zoom": "Zoom",
    "invert": "Invert",
    "reset": "Reset view",
    "image_controls": "Image controls",
    # === Trust ===
    "about": "What to know first",
    "model": "Model",
    "trained_on": "Trained on",
    "known": "Known hospitals",
    "unknown": "Unknown hospitals",
    "known_hint": "test images from the same sources as the training images",
    "unknown_hint": "sources that the measured model was not trained on",
    "figures": "accuracy {accuracy}, balanced accuracy {balanced} ({n} images)",
    "interval": "{value} ({low} to {high})",
    "not_measured": "not measured",
    "unknown_warning": "not measured; expect it to be clearly worse",
    "card": "Model card",
    "must_not": "Must not be used",
    "must_not_text": "to decide anything about a person: not for screening, triage, treatment or "
    "a second opinion. If you are unwell, see a doctor.",
    "no_revision": "local release",
    "drawn_source": "drawn pictures (no radiographs)",
    "unknown_source": "not stated",
    # === Start-up ===
    "origin_cache": "The model's repository could not be reached when this page started, so the "
    "copy in the cache answers.",
    "origin_shipped": "The model's repository could not be reached when this page started, so the "
    "release that came with this page answers.",
    "no_model": "No model is loaded",
    "no_model_text": "This page cannot answer until its publisher mends this:",
    # === API ===
    "api_lead": "The same answers for programs. A request with an image answers with JSON: label, "
    "three probabilities, whether it is a chest radiograph, whether the model abstains, and the "
    "model's revision.",
    "api_python": "Python",
    "api_curl": "curl: one image",
    "api_mcp": "MCP: tools for language models",
    "api_schema": "All endpoints in machine-readable form",
    # === Many images ===
    "upload_many": "<strong>Many radiographs</strong>: drop or choose several files or a ZIP, "
    "up to 200 images at once and 50 MB a file.",
    "reading": "Reading images",
    "file": "File",
    "answer": "Answer",
    "note": "Note",
    "summary": "{answered} answered, {unsure} not sure, {turned_away} no chest radiograph, "
    "{failed} unreadable",
    "csv": "Download as CSV",
    "sort_hint": "Choose a column heading to sort.",
    "table": "Answers, one row an image",
    "no_chest_short": "no chest radiograph",
    "not_sure_short": "not sure",
    "unreadable_short": "unreadable",
}

FR = {
    "title": "AIHealth : radiographies du thorax",
    "lead": "Un petit réseau de neurones compare une radiographie du thorax à des clichés "
    "étiquetés Covid, Normal et Pneumonia. Pour la recherche et l’enseignement. "
    "<strong>Ce n’est pas un dispositif médical.</strong>",
    "drawn": "<strong>Modèle de démonstration.</strong> Ce modèle a été entraîné sur des dessins, "
    "pas sur des radiographies. Ses réponses sur de vraies radiographies ne veulent rien dire.",
    "tab_one": "Une image",
    "tab_many": "Plusieurs images",
    "tab_api": "API",
    "footer": "Les fichiers envoyés sont effacés du serveur dans l’heure. Rien n’est journalisé, "
    "gardé pour l’entraînement ni transmis. Retirez tout de même noms et dates de vos images.",
    "upload": "<strong>Votre radiographie</strong> : déposez, collez ou choisissez un fichier. "
    "PNG, JPEG, TIFF ou DICOM, 50 Mo au plus.",
    "examples_own": "Ou essayez un exemple fourni par l’éditeur de cette page.",
    "examples": "Ou essayez un exemple. Ce sont des dessins, pas des clichés de quelqu’un : ils "
    "montrent la page, pas le modèle.",
    "image_alt": "L’image, en niveaux de gris, {width} sur {height} pixels",
    "most_like": "Ressemble le plus à",
    "not_sure": "Incertain",
    "not_sure_why": "Aucune classe n’atteint {limit}, le seuil sous lequel ce modèle ne répond "
    "pas.",
    "not_chest": "Cela ne ressemble pas à une radiographie du thorax",
    "not_chest_why": "Sa distance aux images d’entraînement est de {score} ; une radiographie du "
    "thorax reste sous {limit}. Des probabilités n’auraient pas de sens ; aucune n’est montrée.",
    "cannot_use": "Ce fichier ne peut pas être utilisé",
    "probabilities": "Probabilités, prudentes",
    "only_three": "Le modèle ne connaît que ces trois classes. Quoi que montre le cliché, les "
    "trois nombres font 100 %.",
    "overlay": "Carte des indices",
    "overlay_off": "Aucune",
    "overlay_note": "Où le réseau a trouvé des indices pour une classe. Ce n’est pas le contour "
    "d’une lésion.",
    "strength": "Force de la carte",
    "brightness": "Luminosité",
    "contrast": "Contraste",
    "zoom": "Zoom",
    "invert": "Inverser",
    "reset": "Réinitialiser",
    "image_controls": "Réglages de l’image",
    "about": "À savoir d’abord",
    "model": "Modèle",
    "trained_on": "Entraîné sur",
    "known": "Hôpitaux connus",
    "unknown": "Hôpitaux inconnus",
    "known_hint": "images de test des mêmes sources que l’entraînement",
    "unknown_hint": "des sources sur lesquelles le modèle mesuré n’a pas été entraîné",
    "figures": "exactitude {accuracy}, exactitude équilibrée {balanced} ({n} images)",
    "interval": "{value} ({low} à {high})",
    "not_measured": "non mesuré",
    "unknown_warning": "non mesuré ; attendez-vous à nettement moins bien",
    "card": "Fiche du modèle",
    "must_not": "Ne doit pas servir",
    "must_not_text": "à décider quoi que ce soit pour une personne : ni dépistage, ni tri, ni "
    "traitement, ni second avis. Si vous êtes malade, consultez un médecin.",
    "no_revision": "version locale",
    "drawn_source": "des dessins (aucune radiographie)",
    "unknown_source": "non précisé",
    "origin_cache": "Le dépôt du modèle était injoignable au démarrage de cette page ; la copie en "
    "cache répond.",
    "origin_shipped": "Le dépôt du modèle était injoignable au démarrage de cette page ; la "
    "version livrée avec la page répond.",
    "no_model": "Aucun modèle n’est chargé",
    "no_model_text": "Cette page ne peut pas répondre tant que ceci n’est pas corrigé :",
    "api_lead": "Les mêmes réponses pour des programmes. Une requête avec une image renvoie du "
    "JSON : classe, trois probabilités, si c’est une radiographie du thorax, si le modèle "
    "s’abstient, et la révision du modèle.",
    "api_python": "Python",
    "api_curl": "curl : une image",
    "api_mcp": "MCP : des outils pour modèles de langage",
    "api_schema": "Tous les points d’accès sous forme lisible par machine",
    "upload_many": "<strong>Plusieurs radiographies</strong> : déposez ou choisissez des fichiers "
    "ou un ZIP, 200 images et 50 Mo par fichier au plus.",
    "reading": "Lecture des images",
    "file": "Fichier",
    "answer": "Réponse",
    "note": "Remarque",
    "summary": "{answered} avec réponse, {unsure} incertaines, {turned_away} hors sujet, "
    "{failed} illisibles",
    "csv": "Télécharger en CSV",
    "sort_hint": "Choisissez un titre de colonne pour trier.",
    "table": "Réponses, une ligne par image",
    "no_chest_short": "pas une radiographie du thorax",
    "not_sure_short": "incertain",
    "unreadable_short": "illisible",
}

TEXTS = {"en": EN, "fr": FR}

# What the package says of a file, as patterns, in French. Sentences that are not here stay English.
REASONS_FR = {
    r"the file is empty": "le fichier est vide",
    r"this is not an image that can be read \(PNG, JPEG, TIFF, DICOM\)": "ce n’est pas une image "
    "lisible (PNG, JPEG, TIFF, DICOM)",
    r"the image is damaged or cut short": "l’image est endommagée ou tronquée",
    r"the DICOM file is damaged( or cut short)?": "le fichier DICOM est endommagé",
    r"the DICOM file has no image in it": "le fichier DICOM ne contient pas d’image",
    r"the DICOM file is compressed in a way that cannot be read here": "le fichier DICOM est "
    "compressé d’une façon illisible ici",
    r"the file has more than (\d+) MB": r"le fichier dépasse \1 Mo",
    r"the image has more than (\d+) million pixels": r"l’image dépasse \1 millions de pixels",
    r"the image has (\d+) x (\d+) pixels; at least (\d+) a side are needed": r"l’image a "
    r"\1 × \2 pixels ; il en faut au moins \3 par côté",
    r"the image uses less than half of its 16 bits a colour; save it in grey or with 8 bits": "l’"
    "image n’utilise pas la moitié de ses 16 bits par couleur ; enregistrez-la en gris ou sur "
    "8 bits",
    r"the ZIP archive is damaged": "l’archive ZIP est endommagée",
    r"the ZIP archive has no file in it": "l’archive ZIP ne contient aucun fichier",
    r"the file is damaged inside the ZIP archive": "le fichier est endommagé dans l’archive ZIP",
    r"the file is locked with a password": "le fichier est protégé par un mot de passe",
    r"not read: at most (\d+) images at once": r"non lu : \1 images à la fois au plus",
    r"not read: the archive has more than (\d+) entries": r"non lu : l’archive a plus de "
    r"\1 entrées",
    r"not read: the archive unpacks to more than (\d+) MB": r"non lu : l’archive décompressée "
    r"dépasse \1 Mo",
    r"The file has (\d+) frames; only the first was used\.": r"Le fichier a \1 images ; seule la "
    "première a été utilisée.",
    r"The file has several frames; only the first was used\.": "Le fichier a plusieurs images ; "
    "seule la première a été utilisée.",
    r"The file says that this is a lateral film: the answer means nothing\.": "Le fichier dit que "
    "c’est un cliché de profil : la réponse ne veut rien dire.",
    r"Taken together, these (\d+) images differ from those of the hospitals that the model knows "
    r"\((\d+)\.(\d+); theirs stay below (\d+)\.(\d+)\): expect what its card says of "
    r"hospitals that it has not seen\.": r"Prises ensemble, ces \1 images diffèrent de celles des "
    r"hôpitaux que le modèle connaît (\2,\3 ; les leurs restent sous \4,\5) : attendez-vous à "
    r"ce que sa fiche dit des hôpitaux qu’il n’a pas vus.",
    r"This image is like the training images only when it is smoothed, as noisy or strongly "
    r"compressed ones are: the answer is less certain\.": "Cette image ne ressemble aux images "
    "d’entraînement qu’une fois lissée, comme une image bruitée ou fortement comprimée : la "
    "réponse est moins certaine.",
    r"The two halves of this image differ more than in frontal films: if it is a lateral film, "
    r"the answer means nothing\.": "Les deux moitiés de cette image diffèrent plus que sur un "
    "cliché de face : si c’est un profil, la réponse ne veut rien dire.",
}


def say(key: str, language: str, **values: object) -> str:
    """A sentence of the page.

    Args:
        key: its name in `EN`.
        language: "en" or "fr".
        values: what fills its braces.
    """
    return TEXTS[language][key].format(**values)


def reason(text: str | None, language: str) -> str | None:
    """A sentence of the package about a file, in the visitor's language."""
    if language == "fr" and text:
        for pattern, french in REASONS_FR.items():
            text = re.sub(pattern, french, text)
    return text


def language_of(request: gr.Request | None) -> str:
    """The language of a visitor's browser, as far as the page speaks it; else English."""
    header = request.headers.get("accept-language", "") if request is not None else ""
    first = header.split(",")[0].strip().lower()
    return next((code for code in LANGUAGES if first.split("-")[0] == code), "en")


def percent(value: float, language: str, digits: int = 0) -> str:
    """A probability or a share as people write it; never a certainty that the model cannot have.

    Args:
        value: 0..1.
        language: "en" or "fr".
        digits: digits after the point; 0 rounds to whole percents and says "<1%" and ">99%".
    """
    if digits == 0 and value < 0.01:
        text = "<1"
    elif digits == 0 and value > 0.99:
        text = ">99"
    else:
        text = f"{100 * value:.{digits}f}"
    return number(text, language) + ("\u202f%" if language == "fr" else "%")


def number(text: str, language: str) -> str:
    """A number with the language's decimal sign."""
    return text.replace(".", ",") if language == "fr" else text
