"""Every word of the page: key to (English, French). HTML where a key's text has tags."""

WORDS = {
    # === Page ===
    "title": ("AIHealth: chest radiographs", "AIHealth : radiographies du thorax"),
    "lead": (
        "A small neural network compares a chest radiograph with radiographs labelled Covid, "
        "Normal and Pneumonia. For research and teaching. <strong>Not a medical device.</strong>",
        "Un petit réseau de neurones compare une radiographie du thorax à des radiographies "
        "étiquetées Covid, Normal et Pneumonie. Pour la recherche et l’enseignement. "
        "<strong>Ce n’est pas un dispositif médical.</strong>",
    ),
    "drawn": (
        "<strong>Demonstration model.</strong> This model was trained on drawn pictures, not on "
        "radiographs. Its answers about real radiographs mean nothing.",
        "<strong>Modèle de démonstration.</strong> Ce modèle a été entraîné sur des dessins, pas "
        "sur des radiographies. Ses réponses sur de vraies radiographies ne veulent rien dire.",
    ),
    "tab_one": ("One image", "Une image"),
    "tab_many": ("Many images", "Plusieurs images"),
    "tab_api": ("API", "API"),
    "footer": (
        "Uploads are deleted from this server within the hour. Nothing is logged, kept for "
        "training or sent elsewhere. Remove names and dates from your images all the same.",
        "Les fichiers envoyés sont effacés du serveur dans l’heure. Rien n’est journalisé, gardé "
        "pour l’entraînement ni transmis. Retirez tout de même noms et dates de vos images.",
    ),
    "footer_local": (
        "The model runs in your browser. Your images never leave this computer, nothing is "
        "logged, and the page works without a network once it was opened.",
        "Le modèle tourne dans votre navigateur. Vos images ne quittent jamais cet ordinateur, "
        "rien n’est journalisé, et la page fonctionne sans réseau une fois ouverte.",
    ),
    "never_leaves": (
        "Your images never leave this computer.",
        "Vos images ne quittent jamais cet ordinateur.",
    ),
    "other_language": ("Français", "English"),
    # === Choosing images ===
    "upload": ("Your radiograph", "Votre radiographie"),
    "choose": ("Choose a file", "Choisissez un fichier"),
    "drop": ("Drop, paste or choose a file", "Déposez, collez ou choisissez un fichier"),
    "upload_limits": (
        "Frontal chest radiographs only. PNG, JPEG, TIFF or DICOM, up to 50 MB.",
        "Radiographies du thorax de face seulement. PNG, JPEG, TIFF ou DICOM, 50 Mo au plus.",
    ),
    "upload_many": ("Many radiographs", "Plusieurs radiographies"),
    "choose_many": ("Choose files or a ZIP", "Choisissez des fichiers ou un ZIP"),
    "drop_many": (
        "Drop or choose files or a ZIP",
        "Déposez ou choisissez des fichiers ou un ZIP",
    ),
    "choose_folder": ("Choose a folder", "Choisissez un dossier"),
    "upload_many_limits": (
        "Frontal chest radiographs only, up to 200 at once and 50 MB a file.",
        "Radiographies du thorax de face seulement, 200 à la fois et 50 Mo par fichier au plus.",
    ),
    "examples": (
        "Or try an example. These are drawn, not taken of anyone: they show the page, not the "
        "model.",
        "Ou essayez un exemple. Ce sont des dessins, pas des clichés de quelqu’un : ils montrent "
        "la page, pas le modèle.",
    ),
    "examples_own": (
        "Or try an example from the publisher of this page.",
        "Ou essayez un exemple fourni par l’éditeur de cette page.",
    ),
    "hand": ("Hand", "Main"),
    # === Answer ===
    "most_like": ("Most like", "Ressemble le plus à"),
    "not_sure": ("Not sure", "Incertain"),
    "not_sure_why": (
        "No class is probable enough for an answer.",
        "Aucune classe n’est assez probable pour une réponse.",
    ),
    "not_chest": (
        "This does not look like a chest radiograph",
        "Cela ne ressemble pas à une radiographie du thorax",
    ),
    "not_chest_why": (
        "Probabilities would mean nothing here, so none are shown. A DICOM file may need another "
        "window.",
        "Des probabilités n’auraient pas de sens ; aucune n’est montrée. Un fichier DICOM demande "
        "peut-être une autre fenêtre.",
    ),
    "seen_elsewhere": (
        "At hospitals that the model had not seen, {right} of 100 answers “{name}” were right.",
        "Dans des hôpitaux que le modèle n’avait pas vus, {right} réponses «\u00a0{name}\u00a0» "
        "sur 100 étaient justes.",
    ),
    "unsure_elsewhere": (
        "At hospitals that the model had not seen, it was not sure of {unsure} in 100 "
        "radiographs, and {right} of 100 answers were right.",
        "Dans des hôpitaux que le modèle n’avait pas vus, il restait incertain pour {unsure} "
        "radiographies sur 100, et {right} réponses sur 100 étaient justes.",
    ),
    "elsewhere_unknown": (
        "How often such an answer is right at a hospital that the model has not seen was not "
        "measured. Expect clearly less than at hospitals that it knows.",
        "On n’a pas mesuré à quelle fréquence une telle réponse est juste dans un hôpital que le "
        "modèle n’a pas vu. Attendez-vous à nettement moins que dans ceux qu’il connaît.",
    ),
    "do_not_use": (
        "Do not use it to decide anything about a person. If you are unwell, see a doctor.",
        "Ne vous en servez pas pour décider quoi que ce soit pour une personne. Si vous êtes "
        "malade, consultez un médecin.",
    ),
    "cannot_use": ("This file cannot be used", "Ce fichier ne peut pas être utilisé"),
    "probabilities": ("Probabilities, kept cautious", "Probabilités, prudentes"),
    "only_three": (
        "The model knows these three classes only. Whatever the radiograph shows, the three "
        "numbers add up to 100%.",
        "Le modèle ne connaît que ces trois classes. Quoi que montre la radiographie, les trois "
        "nombres font 100 %.",
    ),
    "details": ("Details", "Détails"),
    "detail_distance": (
        "Distance from the training images {score}; up to {limit} counts as a chest radiograph.",
        "Distance aux images d’entraînement {score} ; jusqu’à {limit}, l’image passe pour une "
        "radiographie du thorax.",
    ),
    "detail_level": (
        "The model answers when its most probable class reaches {limit}.",
        "Le modèle répond quand sa classe la plus probable atteint {limit}.",
    ),
    # === What scripts say ===
    "no_image": ("No image yet", "Pas encore d’image"),
    "no_image_text": (
        "The answer will stand here.",
        "La réponse se trouvera ici.",
    ),
    "reading_name": ("Reading {name}…", "Lecture de {name}…"),
    "still_reading": ("Still reading {name}…", "Lecture de {name} toujours en cours…"),
    "reading_many": ("Reading images… (files: {n})", "Lecture des images… (fichiers : {n})"),
    "reading_of": ("Reading image {done} of {total}…", "Lecture de l’image {done} sur {total}…"),
    "too_large": (
        "The file has more than {limit} MB. Send a smaller one.",
        "Le fichier dépasse {limit} Mo. Envoyez-en un plus petit.",
    ),
    "not_sent": (
        "The server could not be reached. Check the connection and choose the file again.",
        "Le serveur était injoignable. Vérifiez la connexion et choisissez de nouveau le fichier.",
    ),
    "broke": (
        "This page could not answer. Load it again and choose the file again.",
        "Cette page n’a pas pu répondre. Rechargez-la et choisissez de nouveau le fichier.",
    ),
    "busy": (
        "The server is busy. Wait a moment and choose the file again.",
        "Le serveur est occupé. Attendez un moment et choisissez de nouveau le fichier.",
    ),
    "zip_here": (
        "This is a ZIP archive. Open it in the tab “Many images”.",
        "C’est une archive ZIP. Ouvrez-la dans l’onglet «\u00a0Plusieurs images\u00a0».",
    ),
    "no_example": (
        "There is no example of this name.",
        "Il n’y a pas d’exemple de ce nom.",
    ),
    "cannot_open": (
        "This browser cannot open it here. Send the file alone in the tab “One image”.",
        "Ce navigateur ne peut pas l’ouvrir ici. Envoyez le fichier seul dans l’onglet «\u00a0Une "
        "image\u00a0».",
    ),
    "with_window": ("With the window as you set it:", "Avec la fenêtre que vous avez réglée :"),
    "with_cover": ("With a part covered:", "Avec une partie couverte :"),
    "disclaimer": ("Not a medical device", "Ce n’est pas un dispositif médical"),
    "copy": ("Copy", "Copier"),
    "copied": ("Copied", "Copié"),
    "close": ("Close", "Fermer"),
    # === Viewer ===
    "image_alt": (
        "The image, in grey levels, {width} by {height} pixels",
        "L’image, en niveaux de gris, {width} sur {height} pixels",
    ),
    "stage": ("Radiograph viewer", "Visionneuse de la radiographie"),
    "overlay": ("Heatmap", "Carte de chaleur"),
    "overlay_off": ("Off", "Aucune"),
    "overlay_note": (
        "Where the network found evidence for a class (a class activation map). It is no outline "
        "of a lesion.",
        "Où le réseau a trouvé des indices pour une classe (carte d’activation de classe). Ce "
        "n’est pas le contour d’une lésion.",
    ),
    "legend_low": ("little evidence", "peu d’indices"),
    "legend_high": ("most evidence", "le plus d’indices"),
    "strength": ("Heatmap strength", "Force de la carte"),
    "brightness": ("Level (brightness)", "Niveau (luminosité)"),
    "contrast": ("Window (contrast)", "Fenêtre (contraste)"),
    "zoom": ("Zoom", "Zoom"),
    "invert": ("Invert", "Inverser"),
    "cover": ("Cover a part", "Couvrir une partie"),
    "reset": ("Reset view", "Réinitialiser"),
    "ask": ("Ask again as shown", "Redemander ainsi"),
    "save": ("Save as PNG", "Enregistrer en PNG"),
    "compare": ("Keep beside", "Garder à côté"),
    "remove": ("Remove this image", "Retirer cette image"),
    "image_controls": ("Image controls", "Réglages de l’image"),
    "help": ("Mouse and keys", "Souris et touches"),
    "help_text": (
        "Wheel: zoom. Drag: window and level. Drag with another button or two fingers: move. "
        "Double click or r: reset. + and -: zoom. 0: whole image. i: invert. h: hold to hide the "
        "heatmap.",
        "Molette : zoom. Glisser : fenêtre et niveau. Glisser avec un autre bouton ou deux "
        "doigts : déplacer. Double clic ou r : réinitialiser. + et - : zoom. 0 : image entière. "
        "i : inverser. h : maintenir pour masquer la carte.",
    ),
    # === Teaching ===
    "teach": ("Teaching mode: read first", "Mode enseignement : lire d’abord"),
    "read_first": (
        "What do you see? The model’s answer comes after yours.",
        "Que voyez-vous ? La réponse du modèle vient après la vôtre.",
    ),
    "own_reading": ("Your reading: {reading}", "Votre lecture : {reading}"),
    "lesson_folder": (
        "Choose a folder of labelled images",
        "Choisissez un dossier d’images étiquetées",
    ),
    "lesson_zip": ("Choose a ZIP of them", "Choisissez-en un ZIP"),
    "lesson_text": (
        "The subfolders are the labels: Covid, Normal, Pneumonia. The images come in random order "
        "without them. Your readings stay in this page.",
        "Les sous-dossiers sont les étiquettes : Covid, Normal, Pneumonia. Les images viennent "
        "dans le désordre, sans elles. Vos lectures restent dans cette page.",
    ),
    "image_of": ("Image {i} of {n}", "Image {i} sur {n}"),
    "lesson_done": ("You and the model", "Vous et le modèle"),
    "lesson_left": (
        "Files left out, without a label or not readable: {n}.",
        "Fichiers laissés de côté, sans étiquette ou illisibles : {n}.",
    ),
    "label": ("Label", "Étiquette"),
    "images": ("Images", "Images"),
    "reader_right": ("You, right", "Vous, juste"),
    "model_right": ("Model, right", "Modèle, juste"),
    "model_unsure": ("Model, no answer", "Modèle, sans réponse"),
    "together": ("Together", "Ensemble"),
    # === Trust ===
    "about": ("What to know first", "À savoir d’abord"),
    "model": ("Model", "Modèle"),
    "trained_on": ("Trained on", "Entraîné sur"),
    "known": ("Sources that it knows", "Sources qu’il connaît"),
    "unknown": ("Hospitals that it has not seen", "Hôpitaux qu’il n’a pas vus"),
    "known_figure": (
        "{right} of 100 test images called right",
        "{right} images de test sur 100 bien classées",
    ),
    "unknown_figure": (
        "{right} of 100 images called right. This is what to expect elsewhere.",
        "{right} images sur 100 bien classées. C’est ce qu’il faut attendre ailleurs.",
    ),
    "figures": (
        "{name}: accuracy {accuracy}, balanced accuracy {balanced} ({n} images)",
        "{name} : exactitude {accuracy}, exactitude équilibrée {balanced} ({n} images)",
    ),
    "known_block": ("Test images of known sources", "Images de test de sources connues"),
    "unknown_block": (
        "Each source by a model trained without it",
        "Chaque source par un modèle entraîné sans elle",
    ),
    "interval": ("{value} ({low} to {high})", "{value} ({low} à {high})"),
    "not_measured": ("not measured", "non mesuré"),
    "unknown_warning": (
        "not measured; expect it to be clearly worse",
        "non mesuré ; attendez-vous à nettement moins bien",
    ),
    "card": ("Model card", "Fiche du modèle"),
    "must_not": ("Must not be used", "Ne doit pas servir"),
    "must_not_text": (
        "to decide anything about a person: not for screening, triage, treatment or a second "
        "opinion. If you are unwell, see a doctor.",
        "à décider quoi que ce soit pour une personne : ni dépistage, ni tri, ni traitement, ni "
        "second avis. Si vous êtes malade, consultez un médecin.",
    ),
    "drawn_source": ("drawn pictures (no radiographs)", "des dessins (aucune radiographie)"),
    "unknown_source": ("not stated", "non précisé"),
    "source_aihealth": ("AIHealth’s own collection", "la collection d’AIHealth"),
    "source_bimcv": ("BIMCV, Valencia (Spain)", "BIMCV, Valence (Espagne)"),
    "source_actualmed": ("Actualmed (Spain)", "Actualmed (Espagne)"),
    "source_eurorad": ("Eurorad (case pages)", "Eurorad (cas publiés)"),
    "source_figure1": ("Figure 1 (case pages)", "Figure 1 (cas publiés)"),
    "source_ieee": (
        "covid-chestxray-dataset (figures of articles)",
        "covid-chestxray-dataset (figures d’articles)",
    ),
    "source_journal": ("COVID-CXNet (figures of articles)", "COVID-CXNet (figures d’articles)"),
    "source_pakistan": ("a hospital in Pakistan", "un hôpital au Pakistan"),
    "source_radiopaedia": ("Radiopaedia (case pages)", "Radiopaedia (cas publiés)"),
    "source_nih": ("NIH Clinical Center, Bethesda (USA)", "NIH, Bethesda (États-Unis)"),
    "source_rsna": (
        "RSNA pneumonia challenge (USA, images of the NIH)",
        "concours RSNA sur la pneumonie (États-Unis, images du NIH)",
    ),
    # === Start-up ===
    "origin_cache": (
        "The model's repository could not be reached when this page started, so the copy in the "
        "cache answers.",
        "Le dépôt du modèle était injoignable au démarrage de cette page ; la copie en cache "
        "répond.",
    ),
    "origin_shipped": (
        "The model's repository could not be reached when this page started, so the release that "
        "came with this page answers.",
        "Le dépôt du modèle était injoignable au démarrage de cette page ; la version livrée avec "
        "la page répond.",
    ),
    "no_model": ("No model is loaded", "Aucun modèle n’est chargé"),
    "no_model_text": (
        "This page cannot answer until its publisher mends this:",
        "Cette page ne peut pas répondre tant que ceci n’est pas corrigé :",
    ),
    # === API ===
    "api_lead": (
        "The same answers for programs. A request with an image answers with JSON.",
        "Les mêmes réponses pour des programmes. Une requête avec une image renvoie du JSON.",
    ),
    "api_python": ("Python", "Python"),
    "api_curl": ("curl: one image", "curl : une image"),
    "api_mcp": ("MCP: tools for language models", "MCP : des outils pour modèles de langage"),
    "api_answer": ("What comes back", "Ce qui revient"),
    "api_schema": (
        "All endpoints in machine-readable form",
        "Tous les points d’accès sous forme lisible par machine",
    ),
    "api_code": ("Code of this page", "Code de cette page"),
    # === Many images ===
    "file": ("File", "Fichier"),
    "answer": ("Answer", "Réponse"),
    "note": ("Note", "Remarque"),
    "summary": (
        "{answered} answered, {unsure} not sure, {turned_away} not a chest radiograph, {failed} "
        "unreadable",
        "Avec réponse : {answered}, incertaines : {unsure}, hors sujet : {turned_away}, "
        "illisibles : {failed}",
    ),
    "left_out": (
        "Images left out ({n}):",
        "Images laissées de côté ({n}) :",
    ),
    "csv": ("Download as CSV", "Télécharger en CSV"),
    "sort_hint": (
        "Choose a file to open it, a column heading to sort.",
        "Choisissez un fichier pour l’ouvrir, un titre de colonne pour trier.",
    ),
    "table": ("Answers, one row an image", "Réponses, une ligne par image"),
    "no_chest_short": ("not a chest radiograph", "pas une radiographie du thorax"),
    "not_sure_short": ("not sure", "incertain"),
    "unreadable_short": ("unreadable", "illisible"),
    # === Classes, where they are shown to people ===
    "class_Covid": ("Covid", "Covid"),
    "class_Normal": ("Normal", "Normal"),
    "class_Pneumonia": ("Pneumonia", "Pneumonie"),
}
